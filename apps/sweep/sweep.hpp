#pragma once

#include <CLI/CLI.hpp>

#include "anchor/tuning/head_sweep.hpp"
#include "cli/common_options.hpp"
#include "cli/dump_options.hpp"
#include "cli/main.hpp"
#include "cli/method_options.hpp"

namespace anchor::sweep {

struct Options {
  cli::CommonOptions common;
  cli::DumpOptions dump;
  cli::MethodOptions method;
  std::string target;                   ///< mass_recall=X
  std::optional<double> target_recall;  ///< short for it
  std::string curves;                   ///< empty, thin or full
  std::string grid;                     ///< knob values
  std::string thresholds_out;
  std::string allocate;           ///< layer or model; empty: every head reaches the target
  std::optional<double> floor;    ///< with --allocate: least recall of any head
  std::optional<double> budget;   ///< with --allocate: mean density instead of the target
  std::string measure = "heads";  ///< none, heads or all
  int row_curves = 0;             ///< points
  std::string fit, check;         ///< lists of dumps
  bool matrix = false, leave_one_out = false;
  double margin = 0;                ///< added to fitted knobs
  bool worst = false;               ///< fit every dump instead of their mean
  std::vector<std::string> choose;  ///< parameters to choose head by head
  std::optional<double> max_error;  ///< of a head's output on every fitted dump
  std::optional<double> calibrate;  ///< the output's L1 error per row: the published rule instead of a target
  std::vector<std::string> argv;
};

/// Options after their texts were read, shared by both ways of sweeping.
struct Request {
  Target target;
  SweepRequest head;
  std::vector<MethodRun> runs;
};

void setup(CLI::App& app, Options& options);

/// Curves and thresholds of one dump, or fitted on several and checked on others; returns the exit code.
int run(const Options& options);

/// The three ways.
int run_sweep(const Options& options, const Request& request);
int run_fit(const Options& options, const Request& request);
int run_calibration(const Options& options, const Request& request);

}  // namespace anchor::sweep
