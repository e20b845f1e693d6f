// Captured steps of one program, one graph for each set of extents that comes again.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>
#include <list>
#include <vector>

#include "executor/device.h"

namespace heddle {

class StepGraphs : public StepCache {
 public:
  explicit StepGraphs(int ordinal) : ordinal_(ordinal) {}
  ~StepGraphs() override { clear(); }

  struct Entry {
    std::vector<int64_t> extents;
    cudaGraphExec_t graph = nullptr;  // nullptr: seen once, run launch by launch
    bool refused = false;             // could not be captured: always run launch by launch
  };

  // The entry of these extents, now the most recent one; the least recent leaves when there are too many.
  Entry& find(const std::vector<int64_t>& extents, bool* known) {
    for (auto at = entries_.begin(); at != entries_.end(); ++at) {
      if (at->extents != extents) continue;
      entries_.splice(entries_.begin(), entries_, at);
      *known = true;
      return entries_.front();
    }
    *known = false;
    if (entries_.size() >= kMostGraphs) {
      destroy(entries_.back());
      entries_.pop_back();
    }
    entries_.push_front({extents});
    return entries_.front();
  }

 private:
  static constexpr size_t kMostGraphs = 64;

  static void destroy(Entry& entry) {
    if (entry.graph != nullptr) cudaGraphExecDestroy(entry.graph);
    entry.graph = nullptr;
  }
  void clear() {
    cudaSetDevice(ordinal_);
    for (Entry& entry : entries_) destroy(entry);
    entries_.clear();
  }

  int ordinal_;
  std::list<Entry> entries_;
};

}  // namespace heddle
