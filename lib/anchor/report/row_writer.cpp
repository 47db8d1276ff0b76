#include "anchor/report/row_writer.hpp"

#include "anchor/base/error.hpp"
#include "anchor/report/html_report.hpp"

namespace anchor {
namespace {

class JsonlWriter : public RowWriter {
 public:
  explicit JsonlWriter(TextSink sink) : sink_(std::move(sink)) {}
  void row(const Json& row) override { sink_(json_text(row) + "\n"); }
  void finish() override {}

 private:
  TextSink sink_;
};

class JsonWriter : public RowWriter {
 public:
  explicit JsonWriter(TextSink sink) : sink_(std::move(sink)) {}
  void row(const Json& row) override {
    sink_((first_ ? "[\n" : ",\n") + json_text(row));
    first_ = false;
  }
  void finish() override { sink_(first_ ? "[]\n" : "\n]\n"); }

 private:
  TextSink sink_;
  bool first_ = true;
};

class CsvWriter : public RowWriter {
 public:
  CsvWriter(TextSink sink, std::vector<Column> columns)
      : sink_(std::move(sink)), columns_(std::move(columns)) {
    sink_(csv_header(columns_));
  }
  void row(const Json& row) override { sink_(csv_line(row, columns_)); }
  void finish() override {}

 private:
  TextSink sink_;
  std::vector<Column> columns_;
};

class MarkdownWriter : public RowWriter {
 public:
  MarkdownWriter(TextSink sink, std::vector<Column> columns, std::size_t max_width)
      : sink_(std::move(sink)), columns_(std::move(columns)), max_width_(max_width) {}
  void row(const Json& row) override {
    Json shown = Json::object();  // a curve in a row would be megabytes that no table shows
    for (const Column& column : columns_) {
      if (const Json* value = find_field(row, column.path)) shown[column.path] = *value;
    }
    rows_.push_back(std::move(shown));
  }
  void finish() override {
    if (!rows_.empty()) sink_(markdown_table(rows_, columns_, max_width_));
  }

 private:
  TextSink sink_;
  std::vector<Column> columns_;
  std::size_t max_width_;
  std::vector<Json> rows_;
};

class HtmlWriter : public RowWriter {
 public:
  explicit HtmlWriter(TextSink sink) : sink_(std::move(sink)) {}
  void row(const Json& json) override {
    ResultRow row = row_from_json(json, "a row");
    if (argv_.empty()) argv_ = row.argv;
    report_.row(std::move(row));
  }
  void finish() override { sink_(report_.render(argv_)); }

 private:
  TextSink sink_;
  HtmlReport report_;
  std::vector<std::string> argv_;
};

}  // namespace

std::unique_ptr<RowWriter> make_row_writer(std::string_view format, TextSink sink,
                                           std::vector<Column> columns, std::size_t max_width) {
  if (format == "jsonl") return std::make_unique<JsonlWriter>(std::move(sink));
  if (format == "json") return std::make_unique<JsonWriter>(std::move(sink));
  if (format == "csv") return std::make_unique<CsvWriter>(std::move(sink), std::move(columns));
  if (format == "md") return std::make_unique<MarkdownWriter>(std::move(sink), std::move(columns), max_width);
  if (format == "html") return std::make_unique<HtmlWriter>(std::move(sink));
  fail_usage("unknown format {}: it is one of md, csv, json, jsonl, html", format);
}

std::string format_of_suffix(std::string_view path) {
  for (const char* format : {"md", "csv", "json", "jsonl", "html"}) {
    if (path.ends_with(std::string(".") + format)) return format;
  }
  fail_usage("{}: the suffix must say the format: .md, .csv, .json, .jsonl or .html", path);
}

}  // namespace anchor
