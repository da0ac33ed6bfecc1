"""One registry of samples for every op: how to call it, the NumPy formula it must agree with, what it takes.

`OPS[name]` holds one `Op` (base.py). A name is a path from the package: `add`, `linalg.inv`, `nn.functional.gelu`,
`Tensor.unfold`. The other files fill it, a family of ops each; test_ops.py, test_grads.py and test_gpu_ops.py run the
whole table.
"""

from . import creation, elementwise, layers, linear, native, reductions, shapes  # noqa: F401 (they fill OPS)
from .base import OPS, Number, S, words

__all__ = ["ELSEWHERE", "OPS", "Number", "S"]

# Registered ops that the table leaves to other tests, each with its reason.
ELSEWHERE = {
    **dict.fromkeys(
        words("""rand randn randint randperm rand_like randn_like randint_like normal bernoulli bernoulli_ binomial poisson multinomial cauchy_ exponential_
        geometric_ log_normal_ normal_ random_ uniform_ dropout alpha_dropout feature_dropout feature_alpha_dropout dropout1d dropout2d
        dropout3d gumbel_softmax fractional_max_pool2d fractional_max_pool3d fractional_max_pool2d_with_indices
        fractional_max_pool3d_with_indices rrelu_ native_dropout randint_ default_generator"""),
        "random: test_random.py compares the stream",
    ),
    **dict.fromkeys(words("empty empty_like empty_strided empty_permuted new_empty new_empty_strided new_tensor new tensor as_tensor from_numpy asarray frombuffer"), "memory or outside data: test_views.py"),
    **dict.fromkeys(
        words("""size stride storage_offset alias dim ndimension numel nelement element_size is_contiguous is_floating_point is_complex is_signed is_pinned
        is_inference is_shared get_device data_ptr item tolist numpy type to cpu cuda storage untyped_storage get_default_dtype set_default_dtype
        get_default_device set_default_device get_num_threads set_num_threads promote_types result_type can_cast is_grad_enabled is_inference_mode_enabled is_same_size
        is_set_to is_neg is_conj is_coalesced has_names itemsize nbytes pin_memory share_memory_ apply_ map_ is_distributed is_tensor"""),
        "query or conversion: test_views.py, test_promotion.py",
    ),
    **dict.fromkeys(words("backward register_hook register_post_accumulate_grad_hook retain_grad requires_grad_ detach detach_ is_leaf"), "autograd: test_autograd.py"),
    **dict.fromkeys(words("bfloat16 bool byte char double float half int long short cfloat cdouble chalf"), "conversion: test_promotion.py"),
    **dict.fromkeys(words("copy_ resize_ resize_as_ set_ t_ transpose_ squeeze_ unsqueeze_ swapaxes_ swapdims_ as_strided_ zero_ fill_diagonal_"), "changes its operand: test_views.py"),
}
