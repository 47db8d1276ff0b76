#pragma once

#include <string>

namespace anchor {

/// A library that the tools use where it is present and do without elsewhere: opened with dlopen, so that no
/// binary needs it to start.
///
/// Looked for in this order: the file that the environment variable `variable` names; the loader's own search
/// for `soname`; the wheels (nvidia/*/lib) of $VIRTUAL_ENV and of every Python whose bin folder is on PATH;
/// and the CUDA toolkit ($CUDA_HOME, /usr/local/cuda).
class SharedLibrary {
 public:
  SharedLibrary(const std::string& soname, const char* variable);

  bool found() const { return handle_ != nullptr; }
  /// Where it was looked for, for the message about a missing library.
  const std::string& reason() const { return reason_; }

  /// The function of that name, or nullptr if the library or the symbol is missing.
  template <class Function>
  Function* symbol(const char* name) const {
    return reinterpret_cast<Function*>(address(name));
  }

 private:
  void* address(const char* name) const;

  void* handle_ = nullptr;  // never closed: its functions may run until the process ends
  std::string reason_;
};

}  // namespace anchor
