"""The operations a Plan's graphs may use: pure functions of tensors and numbers, no torch needed.

Every name is a function of PyTorch's ATen library without its overload: `aten.add` allows
`aten.add.Tensor` and `aten.add.Scalar`. Left out on purpose is whatever reads or writes files,
takes a pointer, changes a tensor's storage (`set_`, `resize_`, `as_strided`), returns memory
nobody wrote (`empty`), or hands a value to Python (`item`).

Source of names and meanings: PyTorch's `native_functions.yaml` and the ATen section of its docs.
"""

from __future__ import annotations

_CONVOLUTION = """
conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d convolution _convolution
im2col col2im pixel_shuffle pixel_unshuffle channel_shuffle
"""

_LINEAR_ALGEBRA = """
linear bilinear matmul mm bmm mv dot inner outer ger vdot addmm addmv addbmm baddbmm addr einsum
tensordot kron cross linalg_cross linalg_vecdot linalg_matmul linalg_multi_dot chain_matmul
linalg_norm linalg_vector_norm linalg_matrix_norm norm frobenius_norm nuclear_norm dist cdist
_cdist_forward pdist trace tril triu diag diag_embed diagonal diagflat scaled_dot_product_attention
cosine_similarity pairwise_distance _weight_norm _weight_norm_interface
"""

_NORMALISATION = """
batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training native_batch_norm
instance_norm layer_norm native_layer_norm group_norm native_group_norm rms_norm
renorm
"""

_POOLING = """
max_pool1d max_pool2d max_pool3d max_pool1d_with_indices max_pool2d_with_indices
max_pool3d_with_indices avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d
adaptive_avg_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_max_pool1d
adaptive_max_pool2d adaptive_max_pool3d fractional_max_pool2d fractional_max_pool3d max_unpool2d
max_unpool3d
"""

_ACTIVATION = """
relu relu6 leaky_relu prelu _prelu_kernel rrelu rrelu_with_noise elu celu selu gelu silu mish
sigmoid log_sigmoid log_sigmoid_forward hardsigmoid hardswish hardtanh hardshrink softshrink
softplus tanh threshold glu softmax _softmax _safe_softmax log_softmax
_log_softmax logit
"""

_DROPOUT = """
dropout native_dropout feature_dropout alpha_dropout feature_alpha_dropout
"""

_ELEMENTWISE = """
abs absolute acos acosh add addcdiv addcmul asin asinh atan atan2 atanh arccos arcsin arctan
arctan2 bitwise_and bitwise_or bitwise_xor bitwise_not bitwise_left_shift bitwise_right_shift ceil
clamp clamp_max clamp_min clip copysign cos cosh deg2rad digamma div divide erf erfc erfinv exp
exp2 expm1 floor floor_divide fmax fmin fmod frac heaviside hypot i0 lerp lgamma log log10 log1p
log2 logaddexp logaddexp2 logical_and logical_not logical_or logical_xor maximum minimum mul
multiply nan_to_num neg negative positive pow float_power rad2deg reciprocal remainder round rsqrt
rsub sgn sign signbit sin sinc sinh special_expit special_entr special_erf special_erfc
special_exp2 special_expm1 special_gammaln special_log1p special_log_softmax special_logit
special_logsumexp special_round special_sinc special_softmax special_xlogy sqrt square sub
subtract tan true_divide trunc fix xlogy where masked_fill
eq ne lt le gt ge equal greater greater_equal less less_equal not_equal isclose isfinite isinf
isnan isposinf isneginf isin __and__ __or__ __xor__ __lshift__ __rshift__ __iand__ __ior__ __ixor__
"""

_REDUCTION = """
all any amax amin aminmax argmax argmin argsort cummax cummin cumprod cumsum count_nonzero
logcumsumexp logsumexp max mean median min mode msort nanmean nanmedian nansum prod quantile sort
std std_mean sum sum_to_size topk kthvalue var var_mean histc bincount bucketize searchsorted
"""

_SHAPE = """
alias atleast_1d atleast_2d atleast_3d broadcast_tensors broadcast_to cat chunk clone column_stack
concat concatenate constant_pad_nd contiguous copy copy_ detach dsplit dstack expand expand_as
flatten flip fliplr flipud hsplit hstack _conj conj resolve_conj lift_fresh lift_fresh_copy
meshgrid mH mT matrix_H movedim moveaxis narrow narrow_copy numpy_T t pad permute ravel
reflection_pad1d reflection_pad2d reflection_pad3d repeat repeat_interleave replication_pad1d
replication_pad2d replication_pad3d _pad_circular _pad_enum reshape reshape_as roll rot90 select
slice split split_with_sizes squeeze stack swapaxes swapdims tensor_split tile transpose unbind
unflatten unfold unsafe_chunk unsafe_split unsafe_split_with_sizes unsqueeze view view_as
view_as_real view_as_complex vsplit vstack _unsafe_view _reshape_copy
permute_copy view_copy expand_copy slice_copy select_copy squeeze_copy unsqueeze_copy
transpose_copy t_copy detach_copy alias_copy split_copy unbind_copy
slice_scatter select_scatter diagonal_scatter
"""

_INDEXING = """
embedding embedding_bag one_hot gather index index_add index_copy index_fill index_put
index_reduce index_select masked_scatter masked_select nonzero scatter scatter_add scatter_reduce
take take_along_dim put
"""

_RESAMPLING = """
affine_grid_generator grid_sampler grid_sampler_2d grid_sampler_3d upsample_linear1d
upsample_bilinear2d upsample_bicubic2d upsample_trilinear3d upsample_nearest1d upsample_nearest2d
upsample_nearest3d _upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d
_upsample_bilinear2d_aa _upsample_bicubic2d_aa
"""

_SPECTRUM = """
fft_fft fft_fft2 fft_fftn fft_ifft fft_ifft2 fft_ifftn fft_rfft fft_rfft2 fft_rfftn fft_irfft
fft_irfft2 fft_irfftn fft_fftshift fft_ifftshift real imag angle complex polar
"""

_RECURRENT = "lstm gru rnn_tanh rnn_relu lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell"

_LOSS = """
binary_cross_entropy binary_cross_entropy_with_logits cosine_embedding_loss cross_entropy_loss
hinge_embedding_loss huber_loss kl_div l1_loss margin_ranking_loss mse_loss
multi_margin_loss multilabel_margin_loss nll_loss nll_loss_forward nll_loss2d nll_loss_nd
poisson_nll_loss smooth_l1_loss soft_margin_loss triplet_margin_loss
"""

_CREATION = """
zeros zeros_like ones ones_like full full_like arange linspace logspace eye scalar_tensor
new_zeros new_ones new_full tril_indices triu_indices
rand rand_like randn randn_like randint randint_like randperm normal bernoulli multinomial
uniform exponential random fill zero
"""

_CONVERSION = "to _to_copy type_as to_dense _to_dense"

_SIZE = "sym_size sym_numel sym_stride sym_storage_offset"

_IN_PLACE = """
abs_ add_ addcdiv_ addcmul_ addmm_ alpha_dropout_ bernoulli_ bitwise_and_ bitwise_not_ bitwise_or_
bitwise_xor_ ceil_ celu_ clamp_ clamp_max_ clamp_min_ clip_ cos_ cumsum_ detach_ div_ divide_
dropout_ elu_ eq_ erf_ exp_ expm1_ exponential_ feature_alpha_dropout_ feature_dropout_ fill_ floor_
floor_divide_ fmod_ ge_ gt_ hardsigmoid_ hardswish_ hardtanh_ index_add_ index_copy_ index_fill_
index_put_ le_ leaky_relu_ lerp_ log_ log1p_ logical_and_ logical_not_ logical_or_ lt_ masked_fill_
masked_scatter_ mish_ mul_ multiply_ nan_to_num_ ne_ neg_ normal_ pow_ random_ reciprocal_ relu_
relu6_ remainder_ renorm_ round_ rrelu_ rsqrt_ scatter_ scatter_add_ selu_ sigmoid_ sign_ silu_
sin_ sqrt_ square_ squeeze_ sub_ subtract_ t_ tan_ tanh_ threshold_ transpose_ tril_ triu_ trunc_
uniform_ unsqueeze_ zero_
"""

# Overloads that write their result into tensors they are handed, beside those with `out` in them.
_WRITING = """
dim_max dim_min dim_values values values_stable output OutTensor OutScalar_Other OutScalar_Self
"""

_ATEN = (
    _CONVOLUTION, _LINEAR_ALGEBRA, _NORMALISATION, _POOLING, _ACTIVATION, _DROPOUT, _ELEMENTWISE,
    _REDUCTION, _SHAPE, _INDEXING, _RESAMPLING, _SPECTRUM, _RECURRENT, _LOSS, _CREATION,
    _CONVERSION, _SIZE, _IN_PLACE,
)  # fmt: skip

ATEN: frozenset[str] = frozenset(name for group in _ATEN for name in group.split())
"""Names of ATen functions, without `aten.` and without overload."""

_INTEGER = "add sub mul floordiv truediv mod neg eq ne lt le gt ge getitem"

OPERATOR: frozenset[str] = frozenset(_INTEGER.split())
"""Functions of Python's `operator` module, on sizes (`getitem`: on results that are tuples)."""


def is_allowed(op: str) -> bool:
    """Whether a node may be `op`, written `aten.<name>.<overload>` or `operator.<name>`."""
    match op.split("."):
        case ["operator", name]:
            return name in OPERATOR
        case ["aten", name, overload]:
            writes = "out" in overload.split("_") or overload in _WRITING.split()
            return name in ATEN and overload.isidentifier() and not writes
    return False
