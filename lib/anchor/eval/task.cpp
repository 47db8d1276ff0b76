#include "anchor/eval/task.hpp"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "anchor/base/error.hpp"

namespace anchor {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* schema = "anchor-tasks/1";

std::string dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

/// The field of that name; a data error unless it is there and `is_right`.
const Json& field(const Json& task, const char* name, bool (*is_right)(const Json&), const char* what,
                  const std::string& where) {
  const auto found = task.find(name);
  if (found == task.end()) fail("{}: field \"{}\" is missing", where, name);
  if (!is_right(*found)) fail("{}: field \"{}\" is not {}", where, name, what);
  return *found;
}

bool is_text(const Json& value) { return value.is_string(); }
bool is_count(const Json& value) { return value.is_number_unsigned(); }
bool is_share(const Json& value) {
  return value.is_null() || (value.is_number() && value.get<double>() >= 0 && value.get<double>() <= 1);
}
bool is_span(const Json& value) {
  return value.is_array() && value.size() == 2 && is_count(value.at(0)) && is_count(value.at(1));
}
bool is_spans(const Json& value) {
  return value.is_array() && std::all_of(value.begin(), value.end(), is_span);
}

std::vector<Task::Span> spans_of(const Json& list, const char* name, const Task& task,
                                 const std::string& where) {
  std::vector<Task::Span> spans;
  std::int64_t last = 0;
  for (const Json& span : list) {
    const auto begin = span.at(0).get<std::int64_t>(), end = span.at(1).get<std::int64_t>();
    if (begin < last || end <= begin || end > static_cast<std::int64_t>(task.prompt.size()))
      fail("{}: field \"{}\": [{}, {}] is no ascending span of the prompt's {} bytes", where, name, begin,
           end, task.prompt.size());
    spans.emplace_back(begin, end);
    last = end;
  }
  return spans;
}

Task task_from_json(const Json& json, const std::string& where) {
  if (!json.is_object()) fail("{}: not a task (schema {})", where, schema);
  if (field(json, "schema", is_text, "a text", where) != schema)
    fail("{}: not a task (schema {})", where, schema);
  const auto text = [&](const char* name) {
    return field(json, name, is_text, "a text", where).get<std::string>();
  };
  Task task;
  task.id = text("id");
  task.kind = text("kind");
  task.length = field(json, "length", is_count, "a whole number", where).get<std::int64_t>();
  const Json& depth = field(json, "depth", is_share, "a number from 0 to 1, or null", where);
  if (!depth.is_null()) task.depth = depth.get<double>();
  task.prompt = text("prompt");
  task.answer = text("answer");
  task.evidence =
      spans_of(field(json, "evidence", is_spans, "a list of [begin, end]", where), "evidence", task, where);
  if (json.contains("inner"))
    task.inner =
        spans_of(field(json, "inner", is_spans, "a list of [begin, end]", where), "inner", task, where);
  task.seed = field(json, "seed", is_count, "a whole number", where).get<std::uint64_t>();
  if (task.prompt.empty() || task.answer.empty()) fail("{}: the prompt or the answer is empty", where);
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
  Json json{{"schema", schema}, {"id", task.id}, {"kind", task.kind}, {"length", task.length}};
  json["depth"] = task.depth ? Json(*task.depth) : Json(nullptr);
  json["prompt"] = task.prompt;
  json["answer"] = task.answer;
  json["evidence"] = task.evidence;
  if (!task.inner.empty()) json["inner"] = task.inner;
  json["seed"] = task.seed;
  return dump(json);
}

std::string ruler_line(const Task& task, std::int64_t index) {
  return dump(Json{{"index", index},
                   {"input", task.prompt},
                   {"outputs", task.parts()},
                   {"length", task.length},
                   {"answer_prefix", ""}});
}

std::vector<Task> read_tasks(const std::string& path) {
  std::ifstream file(path);
  if (!file) fail("{}: cannot read", path);
  std::vector<Task> tasks;
  int number = 0;
  for (std::string line; std::getline(file, line);) {
    ++number;
    if (line.empty()) continue;
    const std::string where = fmt::format("{}:{}", path, number);
    const Json json = Json::parse(line, nullptr, false);
    if (json.is_discarded()) fail("{}: not JSON", where);
    tasks.push_back(task_from_json(json, where));
  }
  if (tasks.empty()) fail("{}: no tasks", path);
  return tasks;
}

}  // namespace anchor
