"""How libraries say that they are out of memory. Knows none of them, so that nothing is loaded for the question."""

from __future__ import annotations

WORDS = ("out of memory", "can't allocate memory", "failed to allocate memory", "bad_alloc", "alloc_failed")
"""In what PyTorch, CUDA's libraries (cuBLAS, cuDNN) and ONNX Runtime raise, in lower case."""


def lacks_memory(error: BaseException) -> bool:
    """Whether an error, or one that it came from, says that there was too little memory, on a card or elsewhere."""
    cause: BaseException | None = error
    for _ in range(8):  # causes may go round in a circle
        if cause is None:
            return False
        said = str(cause).lower()
        if isinstance(cause, MemoryError) or any(words in said for words in WORDS):
            return True
        cause = cause.__cause__
    return False
