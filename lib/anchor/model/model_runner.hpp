#pragma once

#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "anchor/model/language_model.hpp"
#include "anchor/model/method_attention.hpp"

namespace anchor {

/// A text that a model reads, and what is wanted of it.
struct TextRun {
  std::span<const int> tokens;
  const Ropes* ropes = nullptr;
  /// Plans rows [0, prompt) in every layer; nullptr: dense. It is new: it keeps the state and the statistics
  /// of one text. In layers with a sliding window it chooses among the keys of the window.
  MethodAttention* attention = nullptr;
  std::int64_t prompt = 0;           ///< rows that are planned, as a text of that length; later rows see all
  std::set<int> whole_layers = {};   ///< layers that keep everything
  std::span<const std::int64_t> of;  ///< rows whose logits are wanted
  std::span<const std::int64_t> evidence = {};  ///< keys that are looked for in the plan of one row
  std::int64_t evidence_row = 0;
};

/// What a text gave.
struct TextResult {
  std::vector<float> logits;  ///< [rows asked for, vocab_size]
  int planned_layers = 0;     ///< layers in which the method planned
  /// [layer][head]: how many of the keys of `evidence` the plan keeps for that row; no heads where the row
  /// was not planned.
  std::vector<std::vector<int>> evidence_kept;
  std::optional<double> attention_ms = std::nullopt;  ///< of rows [0, prompt), planning included; all layers
};

/// Runs a language model over texts, whole ones at a time, on some device.
class ModelRunner {
 public:
  virtual ~ModelRunner() = default;
  /// A data error if the logits are not finite.
  virtual TextResult run(const TextRun& text) = 0;
  virtual const LanguageModel& model() const = 0;
  virtual std::string device() const = 0;  ///< "cpu" or the card's name
  virtual std::string path() const = 0;    ///< "cpu", "cuda-sm90", "cuda-sm80"
};

/// In float32; attention by the CPU executor. The model must outlive it. No times: attention_ms is absent.
std::unique_ptr<ModelRunner> make_cpu_runner(const LanguageModel& model);

}  // namespace anchor
