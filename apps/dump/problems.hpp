#pragma once

#include <cstdio>
#include <string>
#include <vector>

namespace anchor::dump {

/// Prints what is wrong with a dump, one line each: the first few, then how many more there are. Four lines
/// at most, because a dump with one fault often has a thousand.
void print_problems(std::FILE* stream, const std::vector<std::string>& problems);

}  // namespace anchor::dump
