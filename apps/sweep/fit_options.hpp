#pragma once

#include "anchor/tuning/fit.hpp"
#include "cli/main.hpp"
#include "sweep/search_options.hpp"

namespace anchor::sweep {

/// `anchor-sweep fit`, as the command line says it.
struct FitOptions : SearchOptions {
  cli::DumpsOptions dumps;  ///< to fit on
  std::string check;        ///< list of dumps to look at besides
  bool worst = false;       ///< reach the target on every dump, not on their mean
  bool matrix = false, leave_one_out = false;
  double margin = 0;                ///< added to fitted knobs
  std::vector<std::string> choose;  ///< parameters to choose head by head
  std::optional<double> max_error;  ///< of a head's output on every fitted dump
  std::string allocate;             ///< layer or model; empty: every head reaches the target
  std::string measure = "heads";    ///< none or heads

  FitSplit split() const {
    return matrix ? FitSplit::matrix : leave_one_out ? FitSplit::leave_one_out : FitSplit::together;
  }
};

/// What the rows say the target is, and what the library is asked for.
struct FitSpec {
  Target target;
  FitRequest request;
};
FitSpec fit_spec(const FitOptions& options);

/// `fit A.h5,B.h5`: the knob of every head on several texts.
void setup_fit(CLI::App& app, cli::Command& command, const std::vector<std::string>& argv);

}  // namespace anchor::sweep
