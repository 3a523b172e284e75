// Wide tables scroll; with the keyboard, too.
document$.subscribe(() => setTimeout(() => {
  for (const one of document.querySelectorAll(".md-typeset__scrollwrap")) one.tabIndex = 0;
}));
