#include "core/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <new>
#include <system_error>

namespace heddle {
namespace {

Status refused(const char* action, const std::string& path, int error) {
  return fail(StatusCode::kIo, std::string("cannot ") + action + " " + path + ": " + std::generic_category().message(error));
}

const char* kind_of(mode_t mode) {
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISFIFO(mode)) return "a pipe";
  if (S_ISSOCK(mode)) return "a socket";
  return "a device";
}

}  // namespace

Status MappedFile::open(const std::string& path, std::shared_ptr<const MappedFile>* out) try {
  if (path.find('\0') != std::string::npos) return fail(StatusCode::kInvalidArgument, "cannot open a path with a NUL character in it");
  std::shared_ptr<MappedFile> file(new MappedFile());
  file->path_ = path;
  do {
    file->descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  } while (file->descriptor_ < 0 && errno == EINTR);
  if (file->descriptor_ < 0) return refused("open", path, errno);
  struct stat facts;
  if (::fstat(file->descriptor_, &facts) != 0) return refused("examine", path, errno);
  if (!S_ISREG(facts.st_mode)) return fail(StatusCode::kIo, "cannot read " + path + ": it is " + kind_of(facts.st_mode) + ", expected a regular file");
  file->size_ = static_cast<uint64_t>(facts.st_size);
  if (file->size_ > 0) {
    void* mapping = ::mmap(nullptr, file->size_, PROT_READ, MAP_SHARED, file->descriptor_, 0);
    if (mapping == MAP_FAILED) return refused("map", path, errno);
    file->data_ = static_cast<const uint8_t*>(mapping);
  }
  *out = std::move(file);
  return Status::success();
} catch (const std::bad_alloc&) {
  return fail(StatusCode::kOutOfMemory, "out of memory");
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<uint8_t*>(data_), size_);
  if (descriptor_ >= 0) ::close(descriptor_);
}

Status MappedFile::read(uint64_t offset, uint64_t bytes, void* destination) const {
  if (offset > size_ || bytes > size_ - offset)
    return fail(StatusCode::kInvalidArgument, "cannot read " + std::to_string(bytes) + " bytes at " + std::to_string(offset) + " of " + path_ +
                                                  ": it has " + std::to_string(size_));
  constexpr uint64_t kStep = uint64_t{1} << 30;  // the kernel reads at most 2 GiB at once
  auto* target = static_cast<uint8_t*>(destination);
  while (bytes > 0) {
    const ssize_t count = ::pread(descriptor_, target, std::min(bytes, kStep), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return refused("read", path_, errno);
    if (count == 0)
      return fail(StatusCode::kInvalidFile, path_ + " shrank while being read: it had " + std::to_string(size_) + " bytes and now ends at " + std::to_string(offset));
    target += count;
    offset += static_cast<uint64_t>(count);
    bytes -= static_cast<uint64_t>(count);
  }
  return Status::success();
}

}  // namespace heddle
