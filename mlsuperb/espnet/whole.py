"""Of ESPnet's whole configuration, but for its parts: what must be so, and what does not change an output.

Names are those of ESPnet 202511 and 202611 (`espnet2/tasks/abs_task.py`, `espnet2/tasks/asr.py`); `ESPNET3` has those of espnet3,
a second way to train that 202611 has, too.
"""

from __future__ import annotations

from mlsuperb.espnet.settings import PREPROCESSOR, Meaning

WHOLE = Meaning(
    fixed={
        "input_size": (None,),
        "model": ("espnet", None),
        "postencoder": (None,),
        "token_type": ("char", "word"),
        "bpemodel": (None,),
        "cleaner": (None,),
        "g2p": (None,),
        "speech_volume_normalize": (None,),
        "aux_ctc_tasks": ([], None),
        "preprocessor": ("default", None),
        "use_lang_prompt": (False, None),
        "use_nlp_prompt": (False, None),
        "use_adapter": (False, True, None),
    },
    ignored=(
        # read elsewhere
        "frontend", "frontend_conf", "normalize", "normalize_conf", "preencoder", "preencoder_conf", "encoder", "encoder_conf",
        "decoder", "decoder_conf", "ctc_conf", "model_conf", "preprocessor_conf", "token_list",
        # parts that are not there, or act in training alone
        "postencoder_conf", "joint_net_conf", "adapter", "adapter_conf", "specaug", "specaug_conf", "rir_scp", "rir_apply_prob",
        "noise_scp", "noise_apply_prob", "noise_db_range", "short_noise_thres", "non_linguistic_symbols", "use_preprocessor",
        # how it was trained
        "init", "init_param", "ignore_init_mismatch", "freeze_param", "pretrain_path", "seed", "max_epoch", "patience",
        "val_scheduler_criterion", "early_stopping_criterion", "best_model_criterion", "keep_nbest_models",
        "nbest_averaging_interval", "grad_clip", "grad_clip_type", "grad_noise", "accum_grad", "no_forward_run", "resume",
        "train_dtype", "use_amp", "save_strategy", "num_iters_per_epoch", "exclude_weight_decay", "exclude_weight_decay_conf",
        "optim", "optim_conf", "optim2", "optim2_conf", "scheduler", "scheduler_conf", "scheduler2", "scheduler2_conf",
        # on which data and in which batches
        "batch_size", "valid_batch_size", "batch_bins", "valid_batch_bins", "batch_type", "valid_batch_type", "max_batch_size",
        "min_batch_size", "category_sample_size", "upsampling_factor", "category_upsampling_factor",
        "dataset_upsampling_factor", "dataset_scaling_factor", "train_shape_file", "valid_shape_file", "fold_length",
        "sort_in_batch", "shuffle_within_batch", "sort_batch", "multiple_iterator", "iterator_type", "valid_iterator_type",
        "drop_last_iter", "chunk_length", "chunk_shift_ratio", "num_cache_chunks", "chunk_excluded_key_prefixes",
        "chunk_default_fs", "chunk_max_abs_length", "chunk_discard_short_samples", "train_data_path_and_name_and_type",
        "valid_data_path_and_name_and_type", "multi_task_dataset", "allow_variable_data_keys", "allow_multi_rates",
        "max_cache_size", "max_cache_fd", "valid_max_cache_size",
        # where and how it ran
        "config", "print_config", "log_level", "dry_run", "output_dir", "ngpu", "num_workers", "num_att_plot", "dist_backend",
        "dist_init_method", "dist_world_size", "dist_rank", "local_rank", "dist_master_addr", "dist_master_port",
        "dist_launcher", "multiprocessing_distributed", "distributed", "unused_parameters", "sharded_ddp", "use_deepspeed",
        "deepspeed_config", "gradient_as_bucket_view", "ddp_comm_hook", "cudnn_enabled", "cudnn_benchmark",
        "cudnn_deterministic", "use_tf32", "collect_stats", "write_collected_feats", "log_interval", "use_matplotlib",
        "use_tensorboard", "create_graph_in_tensorboard", "use_wandb", "wandb_project", "wandb_id", "wandb_entity",
        "wandb_name", "wandb_model_log_interval", "wandb_allow_val_change", "detect_anomaly", "required", "version",
    ),
)  # fmt: skip
# espnet3 writes ESPnet2's settings, those of `CommonPreprocessor` and its own into one level
# (`espnet3.utils.task_utils.save_espnet_config`; its own: egs3/TEMPLATE/esp2_asr/conf/training.yaml)
ESPNET3 = WHOLE.fixing(
    {
        **PREPROCESSOR.fixed,
        "task": ("espnet3.systems.esp2_asr.task.ASRTask", "espnet2.tasks.asr.ASRTask"),
        "text_cleaner": (None,),
        "g2p_type": (None,),
        "aux_task_names": (None, []),
    },
    ignored=(
        *PREPROCESSOR.ignored, "train", "vocab_size", "dataset", "optimizer", "optimizers", "scheduler_interval",
        "scheduler_monitor", "schedulers", "dataloader", "trainer", "fit", "parallel", "collect_stats_batch_size",
        "collect_stats_train_mode", "create_dataset", "tokenizer", "num_device", "num_nodes", "recipe_dir", "data_dir",
        "dataset_dir", "exp_tag", "exp_dir", "stats_dir",
    ),
)  # fmt: skip
