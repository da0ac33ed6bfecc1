"""What is refused: the exact words of errors, and inputs that brought other libraries down."""

import io
import json
import warnings

import numpy as np
import pytest

import rustgrad as torch
from rustgrad import nn
from rustgrad.utils.data import DataLoader, default_collate

F = nn.functional
T = torch.tensor

# A call, the exception that PyTorch 2.13 raises and the first line of its text.
ERRORS = [
    ("len(T(1))", TypeError, "len() of a 0-d tensor"),
    ("bool(T([1, 2]))", RuntimeError, "Boolean value of Tensor with more than one value is ambiguous"),
    ("bool(T([]))", RuntimeError, "Boolean value of Tensor with no values is ambiguous"),
    ("T([1.0, 2.0]).item()", RuntimeError, "a Tensor with 2 elements cannot be converted to Scalar"),
    ("f\"{T([1.0]):.2f}\"", TypeError, "unsupported format string passed to Tensor.__format__"),
    ("T([1, 2]).mean()", RuntimeError, "mean(): could not infer output dtype. Input dtype must be either a floating point or complex dtype. Got: Long"),
    ("T([True]).mean()", RuntimeError, "mean(): could not infer output dtype. Input dtype must be either a floating point or complex dtype. Got: Bool"),
    ("T([1, 2]) ** -1", RuntimeError, "Integers to negative integer powers are not allowed."),
    ("torch.softmax(T([1, 2]), 0)", NotImplementedError, "\"softmax_lastdim_kernel_impl\" not implemented for 'Long'"),
    ("T([]).max()", RuntimeError, "max(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim with the 'dim' argument."),
    ("T([]).argmax()", IndexError, "argmax(): Expected reduction dim to be specified for input.numel() == 0."),
    ("torch.zeros(0, 3).max(0)", IndexError, "max(): Expected reduction dim 0 to have non-zero size."),
    ("np.array([1.0, 2.0], dtype=np.float32) * T([1.0, 2.0])", TypeError, "unsupported operand type(s) for *: 'numpy.ndarray' and 'Tensor'"),
    ("T([1]).add_(1.5)", RuntimeError, "result type Float can't be cast to the desired output type Long"),
    ("T([1]).div_(2)", RuntimeError, "result type Float can't be cast to the desired output type Long"),
    ("T([[1.0]]) @ T([[1.0]], dtype=torch.float64)", RuntimeError, "expected m1 and m2 to have the same dtype, but got: float != double"),
    ("T([[1]]) @ T([[1.0]])", RuntimeError, "expected m1 and m2 to have the same dtype, but got: long int != float"),
    ("F.linear(T([[1]]), T([[1.0]]))", RuntimeError, "expected m1 and m2 to have the same dtype, but got: long int != float"),
    ("F.cross_entropy(torch.zeros(1, 2), torch.zeros(1, dtype=torch.int32))", RuntimeError, "expected target dtype to be Long or Byte, but got Int"),
    ("torch.arange(6).view(2, 3).t().view(-1)", RuntimeError, "view size is not compatible with input tensor's size and stride (at least one dimension spans across two contiguous subspaces). Use .reshape(...) instead."),
    ("torch.zeros(1).expand(3).add_(1)", RuntimeError, "unsupported operation: more than one element of the written-to tensor refers to a single memory location. Please clone() the tensor before performing the operation."),
    ("T([1.0], requires_grad=True).numpy()", RuntimeError, "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead."),
    ("T([1, 2])[::-1]", ValueError, "step must be greater than zero"),
    ("T([1, 2])[5]", IndexError, "index 5 is out of bounds for dimension 0 with size 2"),
    ("T([1, 2]).masked_fill(T([True, False]), float(\"-inf\"))", RuntimeError, "value cannot be converted to type int64_t without overflow"),
    ("torch.zeros(3) + torch.zeros(2)", RuntimeError, "The size of tensor a (3) must match the size of tensor b (2) at non-singleton dimension 0"),
    ("torch.zeros(2, 3) @ torch.zeros(2, 3)", RuntimeError, "mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3)"),
    ("torch.stack([torch.zeros(2), torch.zeros(3)])", RuntimeError, "stack expects each tensor to be equal size, but got [2] at entry 0 and [3] at entry 1"),
    ("torch.cat([torch.zeros(2, 3), torch.zeros(3, 2)])", RuntimeError, "Sizes of tensors must match except in dimension 0. Expected size 3 but got size 2 for tensor number 1 in the list."),
    ("T([1.0], requires_grad=True).add_(1)", RuntimeError, "a leaf Variable that requires grad is being used in an in-place operation."),
    ("T([1.0, 2.0], requires_grad=True).__setitem__(0, 5.0)", RuntimeError, "a view of a leaf Variable that requires grad is being used in an in-place operation."),
    ("(T([1.0, 2.0], requires_grad=True) * 2).backward()", RuntimeError, "grad can be implicitly created only for scalar outputs"),
    ("T([1.0]).sum().backward()", RuntimeError, "element 0 of tensors does not require grad and does not have a grad_fn"),
    ("torch.autograd.grad(T(1.0, requires_grad=True) * 2, T(1.0, requires_grad=True))", RuntimeError, "The differentiated Tensor at index 0 appears to not have been used in the graph. Set allow_unused=True if this is the desired behavior."),
    ("T([1], requires_grad=True)", RuntimeError, "Only Tensors of floating point and complex dtype can require gradients"),
    ("torch.optim.SGD([T([1.0], requires_grad=True) * 2], lr=0.1)", ValueError, "can't optimize a non-leaf Tensor"),
    ("(T([1.0], requires_grad=True) * 2).requires_grad_(False)", RuntimeError, "you can only change requires_grad flags of leaf variables. If you want to use a computed variable in a subgraph that doesn't require differentiation use var_no_grad = var.detach()."),
    ("nn.Linear(2, 2).__setattr__(\"weight\", torch.ones(2))", TypeError, "cannot assign 'torch.FloatTensor' as parameter 'weight' (torch.nn.Parameter or None expected)"),
    ("nn.Sequential(nn.ReLU()).__setattr__(\"0\", torch.ones(2))", TypeError, "cannot assign 'torch.FloatTensor' as child module '0' (torch.nn.Module or None expected)"),
    ("nn.Linear(2, 2).zzz", AttributeError, "'Linear' object has no attribute 'zzz'"),
    ("nn.BatchNorm1d(2)(torch.zeros(1, 2))", ValueError, "Expected more than 1 value per channel when training, got input size torch.Size([1, 2])"),
    ("nn.ModuleList([])(1)", NotImplementedError, "Module [ModuleList] is missing the required \"forward\" function"),
    ("nn.Module()(1)", NotImplementedError, "Module [Module] is missing the required \"forward\" function"),
    ("F.cross_entropy(torch.zeros(1, 2), T([5]))", IndexError, "Target 5 is out of bounds."),
    ("F.binary_cross_entropy(T([2.0]), T([1.0]))", RuntimeError, "all elements of input should be between 0 and 1"),
    ("F.nll_loss(torch.zeros(2, 3), T([0]))", ValueError, "Expected input batch_size (2) to match target batch_size (1)."),
    ("F.mse_loss(torch.zeros(3), torch.zeros(2))", RuntimeError, "The size of tensor a (3) must match the size of tensor b (2) at non-singleton dimension 0"),
    ("torch.optim.SGD([], lr=0.1)", ValueError, "optimizer got an empty parameter list"),
    ("DataLoader([1], shuffle=True, sampler=[0])", ValueError, "sampler option is mutually exclusive with shuffle"),
    ("default_collate([torch.ones(1), torch.ones(2)])", RuntimeError, "stack expects each tensor to be equal size, but got [1] at entry 0 and [2] at entry 1"),
    ("T([[1], [1, 2]])", ValueError, "expected sequence of length 1 at dim 1 (got 2)"),
    ("torch.multinomial(T([0.0, 0.0]), 1)", RuntimeError, "invalid multinomial distribution (sum of probabilities <= 0)"),
    ("torch.zeros(1, device=\"cuda\")", AssertionError, "Torch not compiled with CUDA enabled"),
    ("torch.cuda.synchronize()", AssertionError, "Torch not compiled with CUDA enabled"),
    ("round(T(1.0))", TypeError, "type Tensor doesn't define __round__ method"),
    ("torch.from_numpy(np.array([\"a\"]))", TypeError, "can't convert np.ndarray of type numpy.str_. The only supported types are: float64, float32, float16, complex64, complex128, int64, int32, int16, int8, uint64, uint32, uint16, uint8, and bool."),
    ("torch.from_numpy(np.arange(3)[::-1])", ValueError, "At least one stride in the given numpy array is negative, and tensors with negative strides are not currently supported. (You can probably work around this by making a copy of your array  with array.copy().) "),
    ("torch.randn_like(T([1]))", NotImplementedError, "\"normal_kernel_cpu\" not implemented for 'Long'"),
    ("T([1.0, 2.0], requires_grad=True).__setattr__(\"grad\", torch.zeros(3))", RuntimeError, "attempting to assign a gradient of size '[3]' to a tensor of size '[2]'. Please ensure that the gradient and the tensor are the same size"),
    ("T([1]) // T([0])", RuntimeError, "ZeroDivisionError"),
    ("T([1, 2, 3]).view(2, -1)", RuntimeError, "shape '[2, -1]' is invalid for input of size 3"),
    ("T([1, 2, 3]).reshape(2, 2)", RuntimeError, "shape '[2, 2]' is invalid for input of size 3"),
    ("T([1]) > [1]", TypeError, "'>' not supported between instances of 'Tensor' and 'list'"),
    ("T([1]) + [1]", TypeError, "unsupported operand type(s) for +: 'Tensor' and 'list'"),
    ("torch.zeros(3).__setitem__(slice(None), torch.zeros(2))", RuntimeError, "The expanded size of the tensor (3) must match the existing size (2) at non-singleton dimension 0.  Target sizes: [3].  Tensor sizes: [2]"),
    ("[1, 2][T(1.0)]", TypeError, "only integer tensors of a single element can be converted to an index"),
    ("json.dumps(T(1))", TypeError, "Object of type Tensor is not JSON serializable"),
    ("torch.zeros(2, 3).sum(2)", IndexError, "Dimension out of range (expected to be in range of [-2, 1], but got 2)"),
    ("torch.zeros(2, 3).sum((0, 0))", RuntimeError, "dim 0 appears multiple times in the list of dims"),
    ("torch.zeros(2, 3).squeeze(5)", IndexError, "Dimension out of range (expected to be in range of [-2, 1], but got 5)"),
    ("torch.zeros(2, 3).gather(0, T([0]))", RuntimeError, "Index tensor must have the same number of dimensions as input tensor"),
    ("torch.zeros(2, 3).gather(0, T([[5]]))", RuntimeError, "index 5 is out of bounds for dimension 0 with size 2"),
    ("torch.zeros(3).index_select(0, T([7]))", IndexError, "index out of range in self"),
    ("torch.zeros(2, 3).index_add(0, T([0]), torch.zeros(2, 3))", RuntimeError, "index_add_(): Number of indices (1) should be equal to source.size(dim): (2), for dim: 0"),
    ("torch.zeros(2).scatter(0, T([3]), 1.0)", RuntimeError, "index 3 is out of bounds for dimension 0 with size 2"),
    ("torch.zeros(3).topk(5)", RuntimeError, "selected index k out of range"),
    ("torch.zeros(3).kthvalue(0)", RuntimeError, "kthvalue(): selected number k out of range for dimension 0"),
    ("torch.zeros(5).chunk(0)", RuntimeError, "chunk expects `chunks` to be greater than 0, got: 0"),
    ("torch.stack([])", RuntimeError, "stack expects a non-empty TensorList"),
    ("torch.cat([])", ValueError, "torch.cat(): expected a non-empty list of Tensors"),
    ("torch.einsum(\"ij,jk->iz\", torch.zeros(2, 2), torch.zeros(2, 2))", RuntimeError, "einsum(): output subscript z does not appear in the equation for any input operand"),
    ("torch.einsum(\"ij,jk\", torch.zeros(2, 2), torch.zeros(3, 2))", RuntimeError, "einsum(): subscript j has size 3 for operand 1 which does not broadcast with previously seen size 2"),
    ("torch.bmm(torch.zeros(2, 3, 4), torch.zeros(3, 4, 5))", RuntimeError, "Expected size for first two dimensions of batch2 tensor to be: [2, 4] but got: [3, 4]."),
    ("torch.mm(torch.zeros(2), torch.zeros(2))", RuntimeError, "self must be a matrix"),
    ("torch.dot(torch.zeros(2), torch.zeros(3))", RuntimeError, "inconsistent tensor size, expected tensor [2] and src [3] to have the same number of elements, but got 2 and 3 elements respectively"),
    ("torch.add(T([1]), \"a\")", TypeError, "add(): argument 'other' (position 2) must be Tensor, not str"),
    ("torch.zeros(\"a\")", TypeError, "zeros(): argument 'size' (position 1) must be tuple of ints, not str"),
    ("torch.clamp(T([1.0]))", RuntimeError, "torch.clamp: At least one of 'min' or 'max' must not be None"),
    ("torch.div(T([1.0]), 2, rounding_mode=\"up\")", RuntimeError, "div expected rounding_mode to be one of None, 'trunc', or 'floor' but found 'up'"),
    ("torch.linalg.inv(torch.zeros(2, 2))", torch.linalg.LinAlgError, "linalg.inv: The diagonal element 1 is zero, the inversion could not be completed because the input matrix is singular."),
    ("torch.linalg.cholesky(-torch.eye(2))", torch.linalg.LinAlgError, "linalg.cholesky: The factorization could not be completed because the input is not positive-definite (the leading minor of order 1 is not positive-definite)."),
    ("torch.linalg.solve(torch.zeros(2, 2), torch.zeros(2))", torch.linalg.LinAlgError, "torch.linalg.solve: The solver failed because the input matrix is singular."),
    ("torch.linalg.inv(torch.zeros(2, 3))", RuntimeError, "linalg.inv: A must be batches of square matrices, but they are 2 by 3 matrices"),
    ("F.conv2d(torch.zeros(1, 1, 4, 4), torch.zeros(1, 2, 3, 3))", RuntimeError, "Given groups=1, weight of size [1, 2, 3, 3], expected input[1, 1, 4, 4] to have 2 channels, but got 1 channels instead"),
    ("F.conv2d(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 3, 3))", RuntimeError, "Calculated padded input size per channel: (2 x 2). Kernel size: (3 x 3). Kernel size can't be greater than actual input size"),
    ("F.conv2d(torch.zeros(4), torch.zeros(1, 1, 3, 3))", RuntimeError, "Expected 3D (unbatched) or 4D (batched) input to conv2d, but got input of size: [4]"),
    ("F.conv2d(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 2, 2), stride=0)", RuntimeError, "non-positive stride is not supported"),
    ("F.max_pool2d(torch.zeros(1, 1, 2, 2), 3)", RuntimeError, "Given input size: (1x2x2). Calculated output size: (1x0x0). Output size is too small"),
    ("F.max_pool2d(torch.zeros(1, 1, 4, 4), 2, padding=2)", RuntimeError, "pad should be at most half of effective kernel size, but got pad=2, kernel_size=2 and dilation=1"),
    ("F.pad(torch.zeros(1, 3), (3, 3), mode=\"reflect\")", RuntimeError, "Argument #4: Padding size should be less than the corresponding input dimension, but got: padding (3, 3) at dimension 1 of input [1, 3]"),
    ("F.layer_norm(torch.zeros(2, 3), (4,))", RuntimeError, "Given normalized_shape=[4], expected input with shape [*, 4], but got input of size[2, 3]"),
    ("F.group_norm(torch.zeros(2, 3), 2)", RuntimeError, "Expected number of channels in input to be divisible by num_groups, but got input of shape [2, 3] and num_groups=2"),
    ("F.embedding(T([3]), torch.zeros(3, 2))", IndexError, "index out of range in self"),
    ("F.interpolate(torch.zeros(1, 1, 2), size=2, scale_factor=2)", ValueError, "only one of size or scale_factor should be defined"),
    ("F.one_hot(T([-1]))", RuntimeError, "Class values must be non-negative."),
    ("F.gumbel_softmax(torch.zeros(2), dim=3)", IndexError, "Dimension out of range (expected to be in range of [-1, 0], but got 3)"),
    ("F.pixel_shuffle(torch.zeros(1, 3, 2, 2), 2)", RuntimeError, "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of upscale_factor, but input.size(-3)=3 is not divisible by 4"),
    ("F.glu(torch.zeros(3))", RuntimeError, "Halving dimension must be even, but dimension 0 is size 3"),
    ("F.softmax(torch.zeros(2), 4)", IndexError, "Dimension out of range (expected to be in range of [-1, 0], but got 4)"),
    ("nn.LSTM(2, 3)(torch.zeros(2, 3, 4))", RuntimeError, "input.size(-1) must be equal to input_size. Expected 2, got 4"),
    ("nn.MultiheadAttention(5, 2)", AssertionError, "embed_dim must be divisible by num_heads"),
    ("nn.Conv2d(3, 4, 3, groups=2)", ValueError, "in_channels must be divisible by groups"),
    ("nn.Dropout(1.5)", ValueError, "dropout probability has to be between 0 and 1, but got 1.5"),
    ("nn.Embedding(3, 2, padding_idx=5)", AssertionError, "Padding_idx must be within num_embeddings"),
    ("torch.zeros(2, dtype=\"float32\")", TypeError, "zeros(): argument 'dtype' must be torch.dtype, not str"),
    ("torch.tensor(None)", RuntimeError, "Could not infer dtype of NoneType"),
    ("torch.arange(5, 0)", RuntimeError, "upper bound and lower bound inconsistent with step sign"),
    ("torch.eye(-1)", RuntimeError, "n must be greater or equal to 0, got -1"),
    ("torch.full((2,), \"a\")", TypeError, "full(): argument 'fill_value' (position 2) must be Number, not str"),
]

def scope():
    return {"torch": torch, "T": T, "nn": nn, "F": F, "np": np, "io": io, "json": json, "DataLoader": DataLoader,
            "default_collate": default_collate}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("code", "error", "text"), ERRORS, ids=[e[0] for e in ERRORS])
def test_text(code, error, text):
    with pytest.raises(Exception) as caught:
        eval(code, scope())
    assert (caught.value.args and str(caught.value) or "").splitlines()[:1] == ([text] if text else [])
    assert isinstance(caught.value, error)


# Inputs that PyTorch refuses.
MUST_RAISE = {
    "maxpool_stride0": "F.max_pool2d(torch.rand(2,64,32,32),3,stride=0)",
    "conv_stride0": "F.conv2d(torch.rand(1,1,4,4),torch.rand(1,1,2,2),stride=0)",
    "conv_groups0": "F.conv2d(torch.rand(1,1,4,4),torch.rand(1,1,2,2),groups=0)",
    "unfold_stride0": "F.unfold(torch.rand(1,1,4,4),2,stride=0)",
    "fold_bad": "F.fold(torch.rand(1,4,9),(0,0),(2,2))",
    "int_mod0": "torch.tensor([1])%torch.tensor([0])",
    "embbag_offsets": "F.embedding_bag(torch.zeros(0,dtype=torch.int64),torch.ones(10,5),torch.tensor([0,2,0]),mode=\"sum\")",
    "gather_oob": "torch.gather(torch.rand(2,2),0,torch.tensor([[2**40,0]]))",
    "gather_neg": "torch.gather(torch.rand(2,2),0,torch.tensor([[-3,0]]))",
    "scatter_oob": "torch.zeros(2,2).scatter_(0,torch.tensor([[9,9]]),1.0)",
    "index_add_oob": "torch.zeros(3).index_add_(0,torch.tensor([-5]),torch.ones(1))",
    "take_oob": "torch.take(torch.arange(3),torch.tensor([5*10**8]))",
    "getitem_oob": "torch.arange(3)[torch.tensor([5*10**8])]",
    "setitem_oob": "torch.arange(3).__setitem__(torch.tensor([-9]),1)",
    "bincount_huge": "torch.bincount(torch.tensor([2**62]))",
    "multilabel_margin": "F.multilabel_margin_loss(torch.rand(1,3),torch.tensor([[5,1,-1]]))",
    "ctc_bad": "F.ctc_loss(torch.rand(50,2,5).log_softmax(2),torch.randint(0,5,(2,10)),torch.tensor([50,50]),torch.tensor([10**6,10]))",
    "ctc_empty": "F.ctc_loss(torch.rand(0,2,5),torch.zeros(2,3,dtype=torch.long),torch.tensor([0,0]),torch.tensor([3,3]))",
    "F_bn_undersized": "F.batch_norm(torch.rand(2,64,3),torch.zeros(1),torch.ones(1))",
    "lstm_cell_bad": "torch.lstm_cell(torch.rand(2,3),(torch.rand(2,4),torch.rand(2,4)),torch.rand(16,3),torch.rand(16,4),torch.rand(3),torch.rand(3))",
    "pack_padded_order": "nn.utils.rnn.pack_padded_sequence(torch.rand(25,2,3),[22,25])",
    "neg_pad": "F.pad(torch.rand(3),(-2,-2))",
    "zeros_huge": "torch.zeros(2**45)",
    "arange_huge": "torch.arange(0,1e300)",
    "arange_nan": "torch.arange(0,float(\"nan\"))",
    "repeat_overflow": "torch.rand(2).repeat(2**62,2**2)",
    "repeat_interleave": "torch.repeat_interleave(torch.tensor([1,2]),torch.tensor([-1,2**40]))",
    "tile_neg": "torch.rand(2).tile((-2,))",
    "expand_huge_sum": "torch.ones(1).expand(2**40).contiguous()",
    "expand_numel_ovf": "torch.ones(1,1).expand(2**40,2**40).numel()",
    "view_overflow": "torch.zeros(4).view(2**33,2**33)",
    "as_strided_oob": "torch.zeros(2).as_strided((10,),(10**6,))",
    "as_strided_neg": "torch.zeros(2).as_strided((2,),(-1,))",
    "set_storage": "torch.zeros(2).resize_(2**61)",
    "unfold_neg": "torch.arange(5).unfold(0,-1,1)",
    "chol_nan": "torch.linalg.cholesky(torch.full((3,3),float(\"nan\")))",
    "eig_nan": "torch.linalg.eig(torch.full((3,3),float(\"nan\")))",
    "svd_inf": "torch.linalg.svd(torch.full((3,3),float(\"inf\")))",
    "lu_unpack": "torch.lu_unpack(torch.rand(3,3),torch.tensor([1,2,99],dtype=torch.int32))",
    "max_empty": "torch.rand(0).max()",
    "topk_big": "torch.rand(3).topk(5)",
    "kthvalue0": "torch.rand(3).kthvalue(0)",
    "histc_nan": "torch.histc(torch.tensor([float(\"nan\"),1.0]),bins=4)",
    "histogramdd": "torch.histogramdd(torch.rand(3,2),bins=[2**40,1])",
    "multinomial_nan": "torch.multinomial(torch.tensor([float(\"nan\"),1.0]),1)",
    "multinomial_neg": "torch.multinomial(torch.tensor([-1.0,1.0]),1)",
    "randperm_neg": "torch.randperm(-1)",
    "recursive_list": "l=[]; l.append(l); torch.tensor(l)",
    "ragged": "torch.tensor([[1,2],[3]])",
    "many_dims": "torch.zeros([1]*10000)",
    "version_counter": "x=torch.rand(3,requires_grad=True); y=x.exp(); y.add_(1); y.sum().backward()",
    "leaf_inplace": "x=torch.rand(3,requires_grad=True); x.add_(1)",
    "double_backward": "x=torch.rand(3,requires_grad=True); y=(x*x).sum(); y.backward(); y.backward()",
    "backward_nonscalar": "x=torch.rand(3,requires_grad=True); (x*2).backward()",
    "setitem_overlap": "x=torch.arange(6); x[1:]=x[:-1]; print(x)",
    "out_alias": "x=torch.rand(4); torch.add(x[:3],x[1:],out=x[:3])",
    "np_bigendian": "import numpy as np; torch.from_numpy(np.arange(4,dtype=\">f4\"))",
    "dlpack_garbage": "import numpy; torch.utils.dlpack.from_dlpack(numpy.datetime_data)",
    "load_garbage": "import io; torch.load(io.BytesIO(b\"\\x80\\x02]q\\x00\" + b\"A\"*100))",
    "load_zipbomb_size": "import io,zipfile; b=io.BytesIO(); z=zipfile.ZipFile(b,\"w\"); z.writestr(\"a/data.pkl\",b\"\\x80\\x02}.\"); z.close(); b.seek(0); torch.load(b)",
    "state_dict_shape": "nn.Linear(2,3).load_state_dict({\"weight\":torch.rand(9,9),\"bias\":torch.rand(3)})",
    "complex_cmp": "torch.tensor([1j])<torch.tensor([1j])",
    "bool_sub": "torch.tensor([True])-torch.tensor([True])",
    "einsum_bad": "torch.einsum(\"ij,jk->iz\",torch.rand(2,2),torch.rand(2,2))",
    "item_many": "torch.rand(2).item()",
    "stack_empty": "torch.stack([])",
    "cat_mismatch": "torch.cat([torch.rand(2,3),torch.rand(3,2)])",
    "chunk_0": "torch.rand(5).chunk(0)",
    "pixel_shuffle_huge": "F.pixel_shuffle(torch.rand(1,4,2,2),2**32)",
    "pixel_shuffle0": "F.pixel_unshuffle(torch.rand(1,4,2,2),0)",
    "groupnorm0": "F.group_norm(torch.rand(1,4,2),0)",
    "fft_0": "torch.fft.fft(torch.rand(3),n=0)",
    "cumsum_dim": "torch.rand(3).cumsum(5)",
    "perm_dup": "torch.rand(2,3).permute(0,0)",
    "trans_neg": "torch.rand(2,3).transpose(-9,0)",
    "lr_negative": "torch.optim.SGD([torch.rand(2,requires_grad=True)],lr=-1)",
}

# Inputs for which an answer is as good as a clean error.
MAY_ANSWER = {
    "fractional_maxpool": "nn.FractionalMaxPool3d(2,output_ratio=(0.5,0.5,0.5),_random_samples=torch.full((1,1,3),-1e9))(torch.rand(1,1,4,4,4))",
    "intmin_div_m1": "(torch.tensor([-2**63])//torch.tensor([-1]), torch.tensor([-2**63])%torch.tensor([-1]))",
    "pack_len_gt": "nn.utils.rnn.pack_padded_sequence(torch.rand(5,1,3),[10**9])",
    "grid_sample_nan": "F.grid_sample(torch.rand(1,1,4,4),torch.full((1,2,2,2),float(\"nan\")),align_corners=False)",
    "grid_sample_inf": "F.grid_sample(torch.rand(1,1,4,4),torch.full((1,2,2,2),1e38),padding_mode=\"reflection\",align_corners=False)",
    "shift_neg": "torch.bitwise_right_shift(torch.tensor([1]),torch.tensor([-1]))",
    "shift_64": "torch.bitwise_left_shift(torch.tensor([1]),torch.tensor([64]))",
    "nan_to_long": "torch.tensor([float(\"nan\"),1e30,-1e30]).long()",
    "rot90_bad": "torch.rot90(torch.rand(2,2),k=2**63-1,dims=[0,1])",
    "deep_graph_drop": "x=torch.ones(1,requires_grad=True); y=x\nfor _ in range(300000): y=y*1\ndel y",
    "np_readonly": "import numpy as np; a=np.arange(4.); a.flags.writeable=False; t=torch.from_numpy(a)",
    "histc_repr_nan": "repr(torch.tensor([float(\"nan\"),float(\"inf\"),1e-45,3e38]))",
    "repr_empty": "repr(torch.zeros(0,3,0))",
    "hash_eq": "torch.float32==None",
    "renorm": "F.embedding(torch.tensor([1]),torch.rand(3,2),max_norm=-1.0)",
    "clip_nan": "torch.clamp(torch.tensor([float(\"nan\"),2.]),0,1)",
    "max_nan": "torch.tensor([1.,float(\"nan\")]).max()",
}

def run(code):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if "\n" in code or ";" in code or code.startswith("import"):
            exec(code, scope())
        else:
            repr(eval(code, scope()))


@pytest.mark.parametrize("name", MUST_RAISE)
def test_bad_input_raises(name):
    with pytest.raises(Exception) as caught:
        run(MUST_RAISE[name])
    assert not isinstance(caught.value, (AttributeError, ImportError, NameError)), "the feature is missing"


@pytest.mark.parametrize("name", MAY_ANSWER)
def test_bad_input_answers_or_raises(name):
    try:
        run(MAY_ANSWER[name])
    except Exception as error:
        assert not isinstance(error, (AttributeError, ImportError, NameError)), "the feature is missing"


def test_long_messages_have_all_their_lines():
    layer = nn.Linear(2, 3)
    with pytest.raises(RuntimeError) as caught:
        layer.load_state_dict({"weight": torch.zeros(9, 9)})
    assert str(caught.value) == (
        'Error(s) in loading state_dict for Linear:\n\tMissing key(s) in state_dict: "bias". \n\tsize mismatch for weight: copying a param with '
        "shape torch.Size([9, 9]) from checkpoint, the shape in current model is torch.Size([3, 2])."
    )
    with pytest.raises(TypeError) as caught:
        torch.zeros(2).sum(dims=0)
    assert str(caught.value).splitlines()[1].startswith(" * ")
    with pytest.raises(RuntimeError, match="nowhere"):
        torch.device("nowhere")


def test_a_failed_call_changes_nothing():
    x = torch.arange(4.0)
    version = x._version
    for bad in (lambda: x.add_(torch.ones(3)), lambda: x.index_add_(0, T([9]), torch.ones(1)), lambda: x.view(3, 3)):
        with pytest.raises((RuntimeError, IndexError)):
            bad()
    assert x.tolist() == [0, 1, 2, 3]
    assert x._version == version


@pytest.mark.parametrize("code", ["x += [1.0]", "x -= 'a'", "x *= None", "x /= object()", "x //= {}", "x %= [2]", "x **= 'a'"])
def test_augmented_assignment_of_what_is_no_operand(code):
    x = torch.ones(2)
    with pytest.raises(TypeError):
        exec(code, {"x": x})
    assert x.tolist() == [1.0, 1.0] and x._version == 0


def test_layouts_that_do_not_exist_are_refused():
    assert torch.zeros(2, layout=torch.strided).tolist() == [0.0, 0.0]
    with pytest.raises(NotImplementedError, match="torch.sparse_coo"):
        torch.zeros(2, layout=torch.sparse_coo)
