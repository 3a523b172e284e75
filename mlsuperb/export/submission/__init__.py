"""Files of a challenge submission as the evaluation server looks for them; copied as they are."""
