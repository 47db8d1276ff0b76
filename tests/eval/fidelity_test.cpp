#include "anchor/eval/fidelity.hpp"

#include <doctest/doctest.h>

#include <cmath>

using namespace anchor;
using doctest::Approx;

namespace {

Logits logits(std::vector<float> values) { return {.vocab_size = 3, .values = std::move(values)}; }

EvalResult answer(bool dense_right, bool right, std::vector<double> divergence) {
  AnswerScore dense{.right = dense_right}, score{.right = right};
  score.same_top = right ? static_cast<int>(divergence.size()) : 0;
  score.divergence = std::move(divergence);
  return answer_result(score, dense);
}

}  // namespace

TEST_CASE("an answer's score is what its softmax says") {
  const Logits dense = logits({0, 0, std::log(2.f), 1, 2, 3}), other = logits({0, std::log(2.f), 0, 1, 2, 3});
  const std::vector<int> tokens{2, 2};
  const AnswerScore whole = score_answer(dense, dense, tokens);
  CHECK(whole.right);
  CHECK(whole.same_top == 2);
  CHECK(whole.log_probability ==
        Approx(std::log(0.5) + 3 - std::log(std::exp(1) + std::exp(2) + std::exp(3))));
  CHECK(whole.divergence[0] == Approx(0));

  const AnswerScore score = score_answer(other, dense, tokens);
  CHECK_FALSE(score.right);
  CHECK(score.same_top == 1);
  CHECK(score.divergence[0] == Approx(0.25 * std::log(2)));  // 1/4 ln(1/2) + 1/2 ln 2
  CHECK(score.divergence[1] == Approx(0));
}

TEST_CASE("flips count what dense attention gets right") {
  const std::vector<EvalResult> answers{answer(true, true, {0.1, 0.3}), answer(true, false, {2}),
                                        answer(false, true, {0.2}), answer(false, false, {0.4})};
  const EvalResult sum = fidelity(answers);
  CHECK(sum.n == 4);
  CHECK(sum.dense_accuracy == 0.5);
  CHECK(sum.accuracy == 0.5);
  CHECK(sum.flips == 1);
  CHECK(sum.flips_low < 0.5);
  CHECK(sum.flips_high > 0.5);
  CHECK(sum.kl_mean == Approx(0.6));
  CHECK(sum.kl_max == 2);
  CHECK(sum.kl_p999 == Approx(2 - 0.004 * 1.6));
  CHECK(sum.same_top == Approx(3. / 5));
  CHECK(fidelity({}).n == 0);
  CHECK(!sum.attention_ms);
}

TEST_CASE("milliseconds are the mean over the questions that have them") {
  std::vector<EvalResult> answers{answer(true, true, {0}), answer(true, true, {0}), answer(true, true, {0})};
  answers[0].attention_ms = 3;
  answers[2].attention_ms = 5;
  CHECK(fidelity(answers).attention_ms == 4);
}
