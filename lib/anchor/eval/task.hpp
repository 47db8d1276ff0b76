#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace anchor {

/// A question to a language model whose answer is known, schema "anchor-tasks/1".
struct Task {
  using Span = std::pair<std::int64_t, std::int64_t>;

  std::string id;           ///< unique within a file: kind, length, number
  std::string kind;         ///< a name of task_kinds()
  std::int64_t length = 0;  ///< tokens asked for; prompt and answer together have at most as many
  std::optional<double>
      depth;           ///< where the evidence begins, as a share of the prompt's bytes; none = nowhere
  std::string prompt;  ///< text that the answer continues, without a chat template
  std::string answer;  ///< the bytes that follow the prompt, its leading space included
  /// Bytes [begin, end) of the prompt that hold the answer's evidence; ascending, apart from each other.
  std::vector<Span> evidence;
  /// Bytes of the prompt that are themselves answers, to questions in the middle of the text; likewise.
  std::vector<Span> inner;
  std::uint64_t seed = 0;

  /// The answer's parts, as a scorer that looks for each of them wants them: cut at ", ", spaces removed.
  std::vector<std::string> parts() const;
};

/// One line of a tasks file, without the line's end.
std::string task_line(const Task& task);

/// The same with the field names of RULER (Hsieh et al. 2024, arXiv 2404.06654), so that its scorers read it:
/// index, input, outputs, length, answer_prefix (always empty: the prompt ends with it).
std::string ruler_line(const Task& task, std::int64_t index);

/// The tasks of a jsonl file in its order. Data errors start with FILE or FILE:LINE and name the field that
/// is missing or wrong.
std::vector<Task> read_tasks(const std::string& path);

}  // namespace anchor
