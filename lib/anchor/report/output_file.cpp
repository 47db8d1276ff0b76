#include "anchor/report/output_file.hpp"

#include <cerrno>
#include <cstring>

#include "anchor/base/error.hpp"

namespace anchor {

OutputFile::OutputFile(std::string path)
    : path_(std::move(path)), part_(path_ + ".part"), file_(std::fopen(part_.c_str(), "wb"), std::fclose) {
  if (!file_) fail("{}: cannot write: {}", path_, std::strerror(errno));
}

OutputFile::~OutputFile() {
  if (file_) std::remove(part_.c_str());
}

void OutputFile::write(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), file_.get()) != text.size()) {
    fail("{}: cannot write: {}", path_, std::strerror(errno));
  }
}

void OutputFile::commit() {
  if (std::fflush(file_.get()) != 0 || std::rename(part_.c_str(), path_.c_str()) != 0) {
    fail("{}: cannot write: {}", path_, std::strerror(errno));
  }
  file_.reset();
}

void write_text_file(const std::string& path, std::string_view text) {
  OutputFile file(path);
  file.write(text);
  file.commit();
}

}  // namespace anchor
