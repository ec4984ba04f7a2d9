"""Which operators of torch multiply many numbers with many: those are counted by a formula, or named as not counted.

Nothing is taken to be harmless because nobody thought of it: an operator without a formula is named, unless torch's own tags
or schema say that it works element by element, reduces, or moves numbers, or unless it stands in `NO_PRODUCTS`.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch.utils.flop_counter import flop_registry

from bench.backend.counting.flop_formulas import MENDED

_MOVES = """
    alias as_strided as_strided_scatter block_diag cat channel_shuffle _chunk_cat clone col2im complex constant_pad_nd copy _copy_from
    _copy_from_and_resize detach diag_embed diagonal diagonal_scatter empty_like fill flip full_like im2col _lazy_clone lift lift_fresh
    new_empty new_empty_strided new_full new_ones new_zeros ones_like permute _pin_memory pixel_shuffle pixel_unshuffle reflection_pad1d
    reflection_pad2d reflection_pad3d repeat repeat_interleave replication_pad1d replication_pad2d replication_pad3d _reshape_alias resize
    resize_as _resize_output roll rot90 select select_scatter set slice slice_scatter split split_with_sizes squeeze _stack stack t
    _to_copy trace transpose tril triu unfold unsafe_split unsafe_split_with_sizes _unsafe_view unsqueeze zero zeros_like
"""
_LOOKS_UP = """
    bincount bucketize embedding _embedding_bag _embedding_bag_dense _embedding_bag_forward_only embedding_dense embedding_renorm equal
    gather histc histogram index index_add index_copy index_fill index_put _index_put_impl index_reduce index_select isin masked_fill
    masked_scatter masked_select nonzero nonzero_static put scatter scatter_add scatter_reduce searchsorted _segment_reduce segment_reduce
    take _unique _unique2 unique_consecutive unique_dim unique_dim_consecutive _unsafe_index _unsafe_index_put _unsafe_masked_index
    _unsafe_masked_index_put_accumulate
"""
_SORTS_AND_SCANS = """
    all allclose amax amin _aminmax aminmax any argmax argmin argsort count_nonzero cummax _cummax_helper cummin _cummin_helper cumprod
    cumsum dist kthvalue linalg_cross linalg_vector_norm _logcumsumexp logcumsumexp logsumexp max mean median min mode msort nanmedian
    nansum norm prod renorm sort std std_mean sum topk var var_mean
"""
_DRAWS = """
    bernoulli binomial cauchy _dirichlet_grad exponential _fused_dropout geometric log_normal _masked_scale multinomial native_dropout
    normal normal_functional poisson rand_like randint_like randn_like random rrelu_with_noise rrelu_with_noise_functional
    _sample_dirichlet _standard_gamma _standard_gamma_grad uniform
"""
_NORMALIZES = """
    batch_norm batch_norm_backward_elemt batch_norm_backward_reduce batch_norm_elemt batch_norm_gather_stats
    batch_norm_gather_stats_with_counts _batch_norm_no_update batch_norm_stats batch_norm_update_stats _batch_norm_with_update
    _batch_norm_with_update_functional cudnn_batch_norm _fused_rms_norm _log_softmax _masked_softmax miopen_batch_norm native_batch_norm
    _native_batch_norm_legit _native_batch_norm_legit_functional _native_batch_norm_legit_no_training native_group_norm native_layer_norm
    native_norm _safe_softmax _softmax _weight_norm_interface
"""
_POOLS_AND_RESAMPLES = """
    adaptive_avg_pool1d _adaptive_avg_pool2d adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_avg_pool3d adaptive_max_pool2d
    adaptive_max_pool3d avg_pool1d avg_pool2d avg_pool3d cudnn_grid_sampler fractional_max_pool2d fractional_max_pool3d grid_sampler_2d
    grid_sampler_3d max_pool2d max_pool2d_with_indices max_pool3d_with_indices max_unpool2d max_unpool3d upsample_bicubic2d
    _upsample_bicubic2d_aa upsample_bilinear2d _upsample_bilinear2d_aa _upsample_lanczos2d_aa upsample_linear1d upsample_nearest1d
    upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d
    upsample_trilinear3d
"""
_ACTIVATES_AND_COMPARES = """
    _add_relu binary_cross_entropy binary_cross_entropy_with_logits _ctc_loss _cudnn_ctc_loss elu floor_divide gelu glu glu_backward_jvp
    glu_jvp hardshrink hardsigmoid hardswish hardtanh huber_loss __ilshift__ __irshift__ leaky_relu log_sigmoid log_sigmoid_forward
    log_softmax __lshift__ mish mse_loss multi_margin_loss multilabel_margin_loss multilabel_margin_loss_forward nll_loss nll_loss2d
    nll_loss2d_forward nll_loss_forward _prelu_kernel __rshift__ silu smooth_l1_loss soft_margin_loss softmax softplus softshrink
    threshold _use_cudnn_ctc_loss
"""
_CHANGES_FORMAT = """
    _coalesce _coalesced _convert_indices_from_coo_to_csr _convert_indices_from_csr_to_coo _convert_weight_to_int4pack
    _convert_weight_to_int4pack_for_cpu copy_sparse_to_sparse dense_dim dequantize _empty_affine_quantized
    _empty_per_channel_affine_quantized _fake_quantize_learnable_per_channel_affine _fake_quantize_learnable_per_tensor_affine
    fake_quantize_per_channel_affine_cachemask fake_quantize_per_tensor_affine_cachemask
    _fake_quantize_per_tensor_affine_cachemask_tensor_qparams int_repr is_coalesced _jagged_to_padded_dense_forward
    _make_per_channel_quantized_tensor _make_per_tensor_quantized_tensor _mkldnn_reshape _mkldnn_transpose
    _nested_compute_contiguous_strides_offsets _nested_from_padded _nested_from_padded_and_nested_example _nested_get_jagged_dummy
    _nested_get_lengths _nested_get_max_seqlen _nested_get_min_seqlen _nested_get_offsets _nested_get_ragged_idx _nested_select
    _nested_tensor_from_mask _nested_tensor_from_mask_left_aligned _nested_tensor_from_tensor_list _nested_tensor_size
    _nested_tensor_storage_offsets _nested_tensor_strides _nnz _pack_padded_sequence _padded_dense_to_jagged_forward q_per_channel_axis
    q_per_channel_scales q_per_channel_zero_points q_scale q_zero_point qscheme quantize_per_channel quantize_per_tensor
    quantize_per_tensor_dynamic resize_as_sparse sparse_compressed_tensor sparse_coo_tensor _sparse_coo_tensor_with_dims
    _sparse_coo_tensor_with_dims_and_tensors sparse_dim sparse_mask _sparse_mask_projection sparse_resize sparse_resize_and_clear
    _to_dense to_mkldnn to_padded_tensor _to_sparse _to_sparse_bsc _to_sparse_bsr _to_sparse_csc _to_sparse_csr
    _validate_compressed_sparse_indices
"""
_CHECKS = """
    _amp_foreach_non_finite_check_and_unscale _amp_update_scale _assert_async _assert_tensor_metadata _cudnn_init_dropout_state
    _functional_assert_async _functional_assert_scalar _functional_sym_constrain_range _functional_sym_constrain_range_for_size
    _fused_adagrad _fused_adam _fused_adamw _fused_sdp_choice _fused_sgd _has_same_storage_numel hash_tensor _is_all_true _is_any_true
    is_pinned is_same_size is_set_to _linalg_check_errors _local_scalar_dense record_stream
"""

NO_PRODUCTS = frozenset(
    " ".join(
        (
            _MOVES,
            _LOOKS_UP,
            _SORTS_AND_SCANS,
            _DRAWS,
            _NORMALIZES,
            _POOLS_AND_RESAMPLES,
            _ACTIVATES_AND_COMPARES,
            _CHANGES_FORMAT,
            _CHECKS,
        )
    ).split()
)
"""Operators of aten that multiply no matrices and of which torch's tags do not speak; so do their backward's, and theirs in place."""

_OF_TORCH_ITSELF = ("prim", "prims", "profiler", "c10d", "_c10d_functional", "c10d_functional")
"""Namespaces without products: numbers, elements, marks, and what ranks send one another."""

_TAGS = {getattr(torch.Tag, name) for name in ("pointwise", "reduction", "view_copy") if hasattr(torch.Tag, name)}


def has_formula(func: Any) -> bool:
    """Whether a dispatched operator's FLOP are counted."""
    packet = getattr(func, "_overloadpacket", func)
    return packet in flop_registry or packet in MENDED


def hides_products(func: Any) -> bool:
    """Whether a dispatched operator may multiply many numbers with many, and no formula covers it.

    >>> [hides_products(op) for op in (torch.ops.aten.mm.default, torch.ops.aten.relu_.default, torch.ops.aten._cdist_forward.default)]
    [False, False, True]
    """
    if has_formula(func):
        return False
    if not isinstance(func, torch._ops.OpOverload):
        return True
    if func.namespace != "aten":
        return func.namespace not in _OF_TORCH_ITSELF
    name = func._schema.name.removeprefix("aten::").removesuffix("_")
    return not (name.startswith("_foreach_") and name != "_foreach_mm") and not _is_without_products(name)


@functools.cache
def _is_without_products(name: str) -> bool:
    """Whether an operator of aten is known to have none, in any of its overloads."""
    if name.removesuffix("_data").removesuffix("_backward") in NO_PRODUCTS:
        return True
    packet = getattr(torch.ops.aten, name, None)
    overloads = [getattr(packet, overload) for overload in packet.overloads()] if packet is not None else []
    return any(op.is_view or _TAGS & set(op.tags) or not _takes_tensors(op) for op in overloads)


def _takes_tensors(op: Any) -> bool:
    return any("Tensor" in str(argument.type) and not argument.is_out for argument in op._schema.arguments)
