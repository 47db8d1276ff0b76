#include "anchor/report/private_paths.hpp"

#include <algorithm>
#include <cctype>
#include <set>

namespace anchor {
namespace {

bool starts_path(std::string_view text, std::size_t at) {
  const bool home = text[at] == '~';
  if (text[at] != '/' && !home) return false;
  if (home && (at + 1 >= text.size() || text[at + 1] != '/')) return false;
  if (at + 1 >= text.size() || text[at + 1] == ' ' || (!home && text[at + 1] == '/')) return false;
  return at == 0 || std::string_view(" \t\n\"'=,:;(").find(text[at - 1]) != std::string_view::npos;
}

/// Where a path that begins in the text ends: a path that is the whole word of a command may hold blanks.
std::size_t path_end(std::string_view text, std::size_t at, bool word) {
  const std::string_view ends = word ? std::string_view(",") : std::string_view(" \t\n\"',;:()");
  return std::min(text.find_first_of(ends, at), text.size());
}

/// Calls use(string, is a word of a command or a path) for every string of the data that may hold paths: not
/// for packed arrays and tokens.
template <class Use>
void each_string(Json& json, bool word, const Use& use) {
  if (json.is_string()) {
    use(json.get_ref<std::string&>(), word);
  } else if (json.is_array()) {
    for (Json& item : json) each_string(item, word, use);
  } else if (json.is_object()) {
    for (auto& [key, item] : json.items()) {
      if (key == "heads" && item.is_array()) {
        for (Json& head : item)
          if (head.is_object() && head.contains("error")) each_string(head["error"], false, use);
      } else if (key != "metrics" && key != "places" && key != "mean" && key != "palette") {
        const bool path = key == "path" || key == "dump" || key == "model" || key == "fitted_on";
        each_string(item, key == "argv" || path, use);
      }
    }
  }
}

template <class Use>
void each_path(std::string_view text, bool word, const Use& use) {
  for (std::size_t at = 0; at < text.size();) {
    if (!starts_path(text, at)) {
      ++at;
      continue;
    }
    const std::size_t end = path_end(text, at, word);
    use(at, end);
    at = end;
  }
}

/// The last `folders` + 1 names of a path.
std::string tail(std::string_view path, int folders) {
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  std::size_t at = path.size();
  for (int n = 0; n <= folders; ++n) {
    if (at == 0) return std::string(path);
    const std::size_t slash = path.rfind('/', at - 1);
    if (slash == std::string_view::npos) return std::string(path);
    at = slash;
  }
  return std::string(path.substr(at + 1));
}

/// Names that tell the paths apart.
std::map<std::string, std::string> names_of(const std::set<std::string>& paths) {
  std::map<std::string, std::string> names;
  for (const std::string& path : paths) {
    int folders = 0;
    const auto ambiguous = [&] {
      return std::count_if(paths.begin(), paths.end(), [&](const std::string& other) {
               return tail(other, folders) == tail(path, folders);
             }) > 1;
    };
    while (folders < 2 && ambiguous()) ++folders;
    names[path] = tail(path, folders);
  }
  return names;
}

void drop_machines(Json& rows) {
  for (Json& row : rows) {
    if (!row.contains("env")) continue;
    for (const char* key : {"host", "hostname", "node", "nodename", "user", "username", "home", "cwd"})
      row["env"].erase(key);
  }
}

}  // namespace

void hide_places(Json& data) {
  for (const char* part : {"sources", "tables", "bench"})
    if (data.contains(part)) drop_machines(data[part]);
  std::set<std::string> paths;
  each_string(data, false, [&](const std::string& text, bool word) {
    each_path(text, word,
              [&](std::size_t begin, std::size_t end) { paths.insert(text.substr(begin, end - begin)); });
  });
  const std::map<std::string, std::string> names = names_of(paths);
  each_string(data, false, [&](std::string& text, bool word) {
    // A path that another string holds whole may have blanks: it goes first.
    for (const auto& [path, name] : names) {
      if (path.find(' ') == std::string::npos) continue;
      for (std::size_t at = text.find(path); at != std::string::npos; at = text.find(path, at + name.size()))
        text.replace(at, path.size(), name);
    }
    std::string clean;
    std::size_t done = 0;
    each_path(text, word, [&](std::size_t begin, std::size_t end) {
      clean += text.substr(done, begin - done);
      const auto known = names.find(text.substr(begin, end - begin));
      clean += known != names.end() ? known->second : tail(text.substr(begin, end - begin), 0);
      done = end;
    });
    text = clean + text.substr(done);
  });
}

}  // namespace anchor
