#include "anchor/report/output_file.hpp"

namespace anchor {
namespace {

constexpr std::size_t flushed_at = 1 << 16;  // bytes

}  // namespace

OutputFile::OutputFile(const std::string& path, std::span<const std::string> inputs)
    : part_(std::make_unique<PartFile>(path, inputs, PartFile::Device::write_through)) {
  part_->clear();  // what a killed run left there
}

OutputFile::~OutputFile() {
  if (part_) part_->discard();
}

void OutputFile::write(std::string_view text) {
  buffer_ += text;
  if (buffer_.size() < flushed_at) return;
  part_->write(buffer_);
  buffer_.clear();
}

void OutputFile::commit() {
  part_->write(buffer_);
  part_->publish();
  part_.reset();
}

void write_text_file(const std::string& path, std::string_view text) {
  OutputFile file(path);
  file.write(text);
  file.commit();
}

}  // namespace anchor
