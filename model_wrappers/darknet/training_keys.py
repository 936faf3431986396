"""Cfg keys without effect on a photo, in pjreddie's and AlexeyAB's Darknet: training's, and a GPU's scheduling."""

from __future__ import annotations

_NET = """
    B1 B2 adam adversarial_lr angle aspect attention augment_speed badlabels_rejection_percentage batch blur burn_in center
    clip contrastive contrastive_color contrastive_jit_flip cutmix decay dynamic_minibatch ema_alpha eps equidistant_point
    exposure flip gamma gaussian_noise hue label_smooth_eps learning_rate learning_rate_min letter_box loss_scale
    max_batches max_chart_loss max_crop max_ratio min_crop min_ratio mixup momentum mosaic mosaic_bound notruth
    num_sigmas_reject_badlabels optimized_memory policy power random resize_step saturation scale scales seq_scales
    sequential_subdivisions sgdr_cycle sgdr_mult show_receptive_field step steps subdivisions time_steps track try_fix_nan
    unsupervised use_cuda_graph weights_reject_freq workspace_size_limit_MB
"""
_HEAD = """
    absolute beta_nms bias_match class_scale cls_normalizer coord_scale counters_per_class delta_normalizer focal_loss
    ignore_thresh iou_loss iou_normalizer iou_thresh iou_thresh_kind jitter label_smooth_eps log mask_scale max max_delta
    noobject_scale obj_normalizer object_scale objectness_smooth random rescore resize show_details sqrt thresh truth_thresh
    uc_normalizer
"""
_LAYER = "burnin_update clip dont_update dontsave learning_rate onlyforward stopbackward train_only_bn"

NET_TRAINING = frozenset(_NET.split())
HEAD_TRAINING = frozenset(_HEAD.split())
LAYER_TRAINING = frozenset(_LAYER.split())
CONVOLUTION_TRAINING = frozenset({"dot", "grad_centr", "stream", "wait_stream"})
ROUTE_TRAINING = frozenset({"stream", "wait_stream"})
DROPOUT_TRAINING = frozenset({"dropblock", "dropblock_size_abs", "dropblock_size_rel"})
