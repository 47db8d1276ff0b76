#pragma once

#include <string>
#include <vector>

#include "anchor/data/dump_reader.hpp"
#include "anchor/method/method_run.hpp"
#include "anchor/report/make_head_views.hpp"
#include "anchor/rows/result_row.hpp"

namespace anchor::report {

/// A result row and the file that it was read from.
struct FileRow {
  std::string file;
  ResultRow row;
};

/// What does not fit between rows and the dump whose heads are shown beside them. Rows of several dumps may
/// stand on a page if one of them is this dump. Another shape is a data error that says both names; another
/// model, or another file of the same shape, is a warning.
std::vector<std::string> check_join(const std::vector<FileRow>& rows, const DumpReader& reader);

/// The knobs that rows of this dump, method and parameters give its heads: what a run took, what a search
/// found.
KnobMarks marks_of(const std::vector<FileRow>& rows, const MethodRun& run, const DumpReader& reader);

/// A warning if a run's rows say other numbers of a head than its view does at the same knob: rows of another
/// text.
std::vector<std::string> check_values(const std::vector<FileRow>& rows, const MethodRun& run,
                                      const HeadViews& views);

}  // namespace anchor::report
