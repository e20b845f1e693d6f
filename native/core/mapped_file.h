// A regular file, open for reading: mapped as a whole, and readable by copying.
//
// Touching a mapping behind the end of a file that somebody else has cut short kills the process with SIGBUS. read()
// returns a Status instead: use it for whatever comes from strangers; data() is for files that heddle itself guards.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "core/status.h"

namespace heddle {

class MappedFile {
 public:
  // Refuses everything but a regular file. Never waits, not even for a pipe without a writer.
  static Status open(const std::string& path, std::shared_ptr<const MappedFile>* out);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::string& path() const { return path_; }
  uint64_t size() const { return size_; }               // when it was opened
  const uint8_t* data() const { return data_; }         // nullptr when the file is empty

  // Copies bytes [offset, offset + bytes) to `destination`. Safe from any thread.
  Status read(uint64_t offset, uint64_t bytes, void* destination) const;

 private:
  MappedFile() = default;

  std::string path_;
  uint64_t size_ = 0;
  const uint8_t* data_ = nullptr;
  int descriptor_ = -1;
};

}  // namespace heddle
