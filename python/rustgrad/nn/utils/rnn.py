"""Batches of sequences of different lengths: padded and packed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import rustgrad as rg
from rustgrad import Tensor

__all__ = ["PackedSequence", "invert_permutation", "pack_padded_sequence", "pad_packed_sequence", "pad_sequence",
           "unpad_sequence", "pack_sequence", "unpack_sequence"]


class PackedSequence_(NamedTuple):
    data: Any
    batch_sizes: Any
    sorted_indices: Any
    unsorted_indices: Any


PackedSequence_.__name__ = "PackedSequence"


class PackedSequence(PackedSequence_):
    """Sequences sorted by length, longest first, laid out step by step.

    `data` (sum of lengths, *), `batch_sizes` how many sequences reach each step, `sorted_indices` where each came
    from (None if nowhere else), `unsorted_indices` its inverse.
    """

    def __new__(cls, data: Any, batch_sizes: Any = None, sorted_indices: Any = None,
                unsorted_indices: Any = None) -> PackedSequence:
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        if batch_sizes is not None:
            if batch_sizes.device.type != "cpu":
                raise ValueError("batch_sizes should always be on CPU. Instances of PackedSequence should never be "
                                 "created manually. They should be instantiated by functions like pack_sequence and "
                                 "pack_padded_sequences in nn.utils.rnn. "
                                 "https://pytorch.org/docs/stable/nn.html#torch.nn.utils.rnn.pack_sequence")
        elif isinstance(data, (tuple, list)) and len(data) == 2:
            data, batch_sizes = data
        else:
            raise AssertionError("Expected data to be a tuple of (data, batch_sizes) when batch_sizes is not provided")
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def pin_memory(self) -> PackedSequence:
        """The same with pinned memory."""
        return type(self)(self.data.pin_memory(), self.batch_sizes,
                          None if self.sorted_indices is None else self.sorted_indices.pin_memory(),
                          None if self.unsorted_indices is None else self.unsorted_indices.pin_memory())

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """Move or cast the data; returns self where nothing changes."""
        data = self.data.to(*args, **kwargs)
        if data is self.data:
            return self
        indices = [None if i is None else i.to(data.device) for i in (self.sorted_indices, self.unsorted_indices)]
        return type(self)(data, self.batch_sizes, *indices)

    def cuda(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """Move to a GPU."""
        example = rg.tensor((), dtype=self.data.dtype, device=self.data.device).to(*args, **kwargs)
        return self.to(*args, **kwargs) if example.is_cuda else self.to(*args, device="cuda", **kwargs)

    def cpu(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """Move to the CPU."""
        return self.to(*args, device="cpu", **kwargs)

    def double(self) -> PackedSequence:
        """Cast to float64."""
        return self.to(dtype=rg.double)

    def float(self) -> PackedSequence:
        """Cast to float32."""
        return self.to(dtype=rg.float)

    def half(self) -> PackedSequence:
        """Cast to float16."""
        return self.to(dtype=rg.half)

    def long(self) -> PackedSequence:
        """Cast to int64."""
        return self.to(dtype=rg.long)

    def int(self) -> PackedSequence:
        """Cast to int32."""
        return self.to(dtype=rg.int)

    def short(self) -> PackedSequence:
        """Cast to int16."""
        return self.to(dtype=rg.short)

    def char(self) -> PackedSequence:
        """Cast to int8."""
        return self.to(dtype=rg.int8)

    def byte(self) -> PackedSequence:
        """Cast to uint8."""
        return self.to(dtype=rg.uint8)

    @property
    def is_cuda(self) -> bool:
        """Whether the data is on a GPU."""
        return bool(self.data.is_cuda)

    def is_pinned(self) -> bool:
        """Whether the data is in pinned memory."""
        return bool(self.data.is_pinned())


def invert_permutation(permutation: Any) -> Any:
    """The permutation that undoes this one; None for None."""
    if permutation is None:
        return None
    output = rg.empty_like(permutation)
    output.scatter_(0, permutation, rg.arange(0, permutation.numel(), device=permutation.device))
    return output


def _pack(input: Any, lengths: Any) -> tuple[Any, Any]:
    """Pack (T, N, *) whose lengths are sorted, longest first."""
    if input.numel() == 0:
        raise RuntimeError("Cannot pack empty tensors.")
    if lengths.dim() != 1:
        raise RuntimeError("'lengths' argument should be a 1D CPU int64 tensor, but got "
                           f"{lengths.dim()}D {lengths.device.type} Long tensor")
    sizes: list[int] = lengths.tolist()
    if len(sizes) != input.size(1):
        raise RuntimeError(f"Expected `len(lengths)` to be equal to batch_size, but got {len(sizes)} "
                           f"(batch_size={input.size(1)})")
    if sizes[-1] <= 0 or min(sizes) <= 0:
        raise RuntimeError("Length of all samples has to be greater than 0, but found an element in 'lengths' that is "
                           "<= 0")
    if any(a < b for a, b in zip(sizes, sizes[1:])):
        raise RuntimeError("`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You can "
                           "pass `enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to sidestep this "
                           "requirement if you do not need ONNX exportability.")
    if sizes[0] > input.size(0):
        raise RuntimeError(f"Expected lengths of at most the padded length {input.size(0)}, but got {sizes[0]}")
    # Steps between two lengths have one batch size: take them as one block.
    pieces, batch_sizes, done = [], [], 0
    for n in range(len(sizes), 0, -1):
        length = sizes[n - 1]
        if length > done:
            pieces.append(input[done:length, :n].reshape((length - done) * n, *input.shape[2:]))
            batch_sizes += [n] * (length - done)
            done = length
    return rg.cat(pieces, 0), rg.tensor(batch_sizes, dtype=rg.int64)


def pack_padded_sequence(input: Any, lengths: Any, batch_first: bool = False,
                         enforce_sorted: bool = True) -> PackedSequence:
    """Pack (T, N, *), or (N, T, *) if batch_first, of these lengths; RuntimeError where lengths do not fit.

    Lengths must be sorted, longest first, unless enforce_sorted is False.
    """
    if not isinstance(lengths, Tensor):
        lengths = rg.as_tensor(lengths, dtype=rg.int64, device="cpu")
    else:
        lengths = lengths.to(dtype=rg.int64)
    sorted_indices = None
    if not enforce_sorted:
        lengths, sorted_indices = rg.sort(lengths, descending=True)
        sorted_indices = sorted_indices.to(input.device)
        input = input.index_select(0 if batch_first else 1, sorted_indices)
    data, batch_sizes = _pack(input.transpose(0, 1) if batch_first else input, lengths)
    return PackedSequence(data, batch_sizes, sorted_indices, None)


def pad_packed_sequence(sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0,
                        total_length: int | None = None) -> tuple[Any, Any]:
    """Unpack to (T, N, *), or (N, T, *) if batch_first, and the lengths (N)."""
    sizes: list[int] = sequence.batch_sizes.tolist()
    steps, batch = len(sizes), sizes[0]
    if total_length is not None:
        if total_length < steps:
            raise ValueError("Expected total_length to be at least the length of the longest sequence in input, but "
                             f"got total_length={total_length} and max sequence length being {steps}")
        steps = total_length
    data = sequence.data
    tail = data.shape[1:]
    lengths, blocks, start, t = [0] * batch, [], 0, 0
    while t < len(sizes):
        n, end = sizes[t], t
        while end < len(sizes) and sizes[end] == n:
            end += 1
        count = (end - t) * n
        block = data[start:start + count].reshape(end - t, n, *tail)
        if n < batch:
            block = rg.cat([block, block.new_full((end - t, batch - n, *tail), padding_value)], 1)
        blocks.append(block)
        for i in range(n):
            lengths[i] = end
        start, t = start + count, end
    if steps > len(sizes):
        blocks.append(data.new_full((steps - len(sizes), batch, *tail), padding_value))
    padded = rg.cat(blocks, 0)
    if batch_first:
        padded = padded.transpose(0, 1)
    length_tensor = rg.tensor(lengths, dtype=rg.int64)
    if sequence.unsorted_indices is not None:
        padded = padded.index_select(0 if batch_first else 1, sequence.unsorted_indices)
        length_tensor = length_tensor[sequence.unsorted_indices.cpu()]
    return padded, length_tensor


def pad_sequence(sequences: Any, batch_first: bool = False, padding_value: float = 0.0,
                 padding_side: str = "right") -> Any:
    """Tensors (L_i, *) -> (T, N, *), or (N, T, *) if batch_first, filled up to the longest."""
    if not isinstance(sequences, Iterable):
        raise RuntimeError("pad_sequence: Expected iterable for input sequences, but got arg of type: "
                           f"{type(sequences)}")
    seqs = sequences.unbind(0) if isinstance(sequences, Tensor) else tuple(sequences)
    if not seqs:
        raise RuntimeError("received an empty list of sequences")
    if padding_side not in ("left", "right"):
        raise RuntimeError(f"Expected padding_side to be one of left or right, but got {padding_side}.")
    for s in seqs:
        if not isinstance(s, Tensor):
            raise TypeError("pad_sequence(): argument 'sequences' (position 1) must be tuple of Tensors, not "
                            f"{type(sequences).__name__}")
    longest = max(s.size(0) for s in seqs)
    tail = seqs[0].shape[1:]
    out = seqs[0].new_full((len(seqs), longest, *tail) if batch_first else (longest, len(seqs), *tail), padding_value)
    for i, s in enumerate(seqs):
        n = s.size(0)
        where = slice(longest - n, longest) if padding_side == "left" else slice(0, n)
        out[(i, where) if batch_first else (where, i)] = s
    return out


def unpad_sequence(padded_sequences: Any, lengths: Any, batch_first: bool = False) -> list[Any]:
    """The sequences (L_i, *) of a padded batch."""
    if not batch_first:
        padded_sequences = padded_sequences.transpose(0, 1)
    return [seq[:int(n)] for seq, n in zip(padded_sequences, lengths)]


def pack_sequence(sequences: list[Any], enforce_sorted: bool = True) -> PackedSequence:
    """Pack tensors (L_i, *)."""
    lengths = rg.as_tensor([s.size(0) for s in sequences])
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Any]:
    """The sequences (L_i, *) of a packed batch."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
