#include "anchor/eval/task.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "anchor/base/error.hpp"
#include "anchor/base/text_file.hpp"
#include "anchor/rows/json_fields.hpp"

namespace anchor {
namespace {

constexpr const char* schema = "anchor-tasks/1";

/// The spans [begin, end) of a field.
std::vector<Task::Span> spans_of(JsonFields& fields, const char* name, std::size_t bytes) {
  std::vector<Task::Span> spans;
  std::int64_t last = 0;
  for (const Json& one : fields.list_of(fields.need(name), name)) {
    const Json& pair = fields.list_of(one, name);
    if (pair.size() != 2) fields.wrong(name, "holds something other than [begin, end]");
    const NumberRange within{static_cast<double>(last), static_cast<double>(bytes)};
    const std::int64_t begin = fields.integer_of(pair.at(0), name, within),
                       end = fields.integer_of(pair.at(1), name, within);
    if (end <= begin)
      fields.wrong(name, fmt::format("holds [{}, {}], which is no ascending span", begin, end));
    spans.emplace_back(begin, end);
    last = end;
  }
  return spans;
}

Task task_from_json(const Json& json, const std::string& where) {
  JsonFields fields(json, where);
  if (fields.need_text("schema") != schema) fields.wrong("schema", fmt::format("is not {}", schema));
  Task task;
  task.id = fields.need_text("id");
  task.kind = fields.need_text("kind");
  task.length = fields.need_integer("length", {1, 1e9});
  if (const Json& depth = fields.need("depth"); !depth.is_null())
    task.depth = fields.number_of(depth, "depth", {0, 1});
  task.prompt = fields.need_text("prompt");
  task.answer = fields.need_text("answer");
  if (task.prompt.empty()) fields.wrong("prompt", "is empty");
  if (task.answer.empty()) fields.wrong("answer", "is empty");
  task.evidence = spans_of(fields, "evidence", task.prompt.size());
  if (fields.find("inner") != nullptr) task.inner = spans_of(fields, "inner", task.prompt.size());
  if (!fields.need("seed").is_number_unsigned()) fields.wrong("seed", "is not a whole number of 64 bits");
  task.seed = fields.need("seed").get<std::uint64_t>();
  return task;
}

}  // namespace

std::vector<std::string> Task::parts() const {
  std::vector<std::string> parts;
  for (std::size_t at = 0; at <= answer.size();) {
    const std::size_t comma = std::min(answer.find(", ", at), answer.size());
    std::string part = answer.substr(at, comma - at);
    part.erase(0, part.find_first_not_of(" \n"));
    parts.push_back(std::move(part));
    at = comma + 2;
  }
  return parts;
}

std::string task_line(const Task& task) {
  Json json{{"schema", schema},
            {"id", task.id},
            {"kind", task.kind},
            {"length", task.length},
            {"depth", task.depth ? Json(*task.depth) : Json(nullptr)},
            {"prompt", task.prompt},
            {"answer", task.answer},
            {"evidence", task.evidence},
            {"seed", task.seed}};
  if (!task.inner.empty()) json.emplace("inner", task.inner);
  return json_text(json);
}

std::string ruler_line(const Task& task, std::int64_t index) {
  return json_text(Json{{"index", index},
                        {"input", task.prompt},
                        {"outputs", task.parts()},
                        {"length", task.length},
                        {"answer_prefix", ""}});
}

std::vector<Task> read_tasks(const std::string& path) {
  LineReader lines(path);
  std::vector<Task> tasks;
  while (const auto line = lines.next()) {
    if (line->text.empty()) continue;
    const std::string where = fmt::format("{}:{}", path, line->number);
    const std::optional<Json> json = parse_json(line->text);
    if (!json) fail("{}: not JSON", where);
    tasks.push_back(task_from_json(*json, where));
  }
  if (tasks.empty()) fail("{}: no tasks", path);
  return tasks;
}

}  // namespace anchor
