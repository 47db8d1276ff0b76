#include "cli/output.hpp"

#include <algorithm>
#include <cmath>

#include "anchor/base/error.hpp"
#include "cli/streams.hpp"
#include "cli/terminal.hpp"

namespace anchor::cli {
namespace {

bool reads(Audience audience, const std::string& format) {
  switch (audience) {
    case Audience::everyone:
    case Audience::files:
      return true;
    case Audience::programs:
      return format != "md";
    case Audience::json:
      return format == "json" || format == "jsonl" || format == "html";
    case Audience::store:
      return false;
  }
  return false;
}

}  // namespace

Output::Output(const CommonOptions& options, std::vector<Column> eye, std::vector<Column> all)
    : resume_(options.resume),
      shortens_(options.format.empty() && stdout_is_terminal()),
      format_(options.stdout_format()) {
  const auto is_jsonl = [](const std::string& path) { return format_of_suffix(path) == "jsonl"; };
  if (resume_ && std::count_if(options.out.begin(), options.out.end(), is_jsonl) != 1) {
    fail_usage("--resume continues a jsonl file: give one --out X.jsonl");
  }
  for (const std::string& path : options.out) {
    if (is_jsonl(path)) {
      stores_.push_back(std::make_unique<RowStore>(path, options.resume));
    } else {
      File file{format_of_suffix(path), std::make_unique<OutputFile>(path), nullptr};
      OutputFile* target = file.file.get();
      file.writer = make_row_writer(
          format_of_suffix(path), [target](std::string_view text) { target->write(text); }, all);
      files_.push_back(std::move(file));
    }
  }
  stdout_ = make_row_writer(format_, print_out, markdown() ? std::move(eye) : std::move(all),
                            stdout_is_terminal() ? static_cast<std::size_t>(terminal_width()) : 0);
}

const ResultRow* Output::finished(const std::string& unit) const {
  return resume_ ? stores_.front()->find(unit) : nullptr;
}

void Output::row(const ResultRow& row, Audience audience, bool kept) {
  const Json json = to_json(row);
  if (!kept) {
    for (const auto& store : stores_) store->append(json);
  }
  for (File& file : files_) {
    if (reads(audience, file.format)) file.writer->row(json);
  }
  if (!reads(audience, format_) || (audience == Audience::files && markdown())) return;
  selection_ ? held_.push_back(json) : stdout_->row(json);
}

void Output::shorten(Selection selection) {
  if (shortens_) selection_ = std::move(selection);
}

/// Hands the rows of the selection to stdout's table and ends it.
void Output::show_held() {
  constexpr std::size_t full_table = 40, selected = 12;
  if (held_.size() > full_table) {
    const auto key = [&](const Json& row) {
      const double number = field_number(row, selection_->field);
      if (std::isnan(number)) return -HUGE_VAL;  // failed rows come first
      return selection_->order == Selection::Order::least ? number : -number;
    };
    std::stable_sort(held_.begin(), held_.end(),
                     [&](const Json& a, const Json& b) { return key(a) < key(b); });
    print_out(fmt::format("The {} of {} rows {} (--format md prints all, -o FILE keeps them):\n\n", selected,
                          held_.size(), selection_->words));
    held_.resize(selected);
  }
  for (const Json& row : held_) stdout_->row(row);
  stdout_->finish();
}

void Output::finish() {
  show_held();
  for (File& file : files_) {
    file.writer->finish();
    file.file->commit();
  }
}

void Output::interrupt() {
  show_held();
  files_.clear();
}

}  // namespace anchor::cli
