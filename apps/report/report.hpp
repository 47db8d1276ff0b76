#pragma once

#include <CLI/CLI.hpp>

#include "cli/common_options.hpp"
#include "cli/dump_options.hpp"
#include "cli/main.hpp"
#include "cli/method_options.hpp"

namespace anchor::report {

struct Options {
  cli::CommonOptions common;
  cli::DumpOptions dump;  ///< path: found among the files
  cli::MethodOptions method;
  std::vector<std::string> files;  ///< result rows and at most one dump
  std::string html;
  std::string svg, figure;      ///< a picture for print of the rows
  std::string format = "text";  ///< of the tables of answers on stdout: text or md
  std::string tokenizer;        ///< GGUF file that names the dump's tokens
  std::vector<std::string> argv;
};

void setup(CLI::App& app, Options& options);

/// Writes the report; returns the exit code.
int run(const Options& options);

}  // namespace anchor::report
