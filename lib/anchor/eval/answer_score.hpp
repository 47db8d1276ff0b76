#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace anchor {

/// Logits of some positions of a text, before the softmax.
struct Logits {
  std::int64_t vocab_size = 0;
  std::vector<float> values;  ///< [positions, vocab_size]

  std::int64_t positions() const {
    return vocab_size == 0 ? 0 : static_cast<std::int64_t>(values.size()) / vocab_size;
  }
  std::span<const float> row(std::int64_t position) const {
    return {values.data() + position * vocab_size, static_cast<std::size_t>(vocab_size)};
  }
};

/// What a model gives for the tokens of an answer that it is told (teacher forcing).
struct AnswerScore {
  double log_probability = 0;      ///< natural log of the probability of all tokens
  bool right = true;               ///< every token is the most likely one: greedy decoding gives the answer
  std::vector<double> divergence;  ///< per token: KL(dense || this), nats
  int same_top = 0;                ///< tokens at which dense attention's most likely token is this one's, too
};

/// `logits` and `dense` hold the logits that predict `tokens`, one row each.
AnswerScore score_answer(const Logits& logits, const Logits& dense, std::span<const int> tokens);

}  // namespace anchor
