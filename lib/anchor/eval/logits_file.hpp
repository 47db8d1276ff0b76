#pragma once

#include <string>

#include "anchor/eval/answer_score.hpp"

namespace anchor {

/// The logits as a file of numpy's (.npy, version 1.0): float32 [positions, vocab_size], little-endian.
std::string npy_bytes(const Logits& logits);

}  // namespace anchor
