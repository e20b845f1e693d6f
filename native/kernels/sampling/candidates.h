// The tokens of one row that may still be drawn, and the two cuts that need an order: top-k and top-p.
#pragma once
#include <algorithm>
#include <cstdint>

namespace heddle {

// Parallel arrays in order of token id; `order` is scratch of the same size.
struct Candidates {
  float* logit;
  float* weight;  // exp((logit - best) / temperature), once known
  int32_t* token;
  int32_t* order;
  int64_t count = 0;

  // Most likely first, ties by lower id (an index is as good: the arrays are in order of id).
  bool before(int32_t a, int32_t b) const { return logit[a] != logit[b] ? logit[a] > logit[b] : a < b; }

  void reset_order() {
    for (int64_t i = 0; i < count; i++) order[i] = static_cast<int32_t>(i);
  }

  // order[0 .. keep) become the most likely, in order.
  void rank(int64_t keep) {
    reset_order();
    const auto less = [this](int32_t a, int32_t b) { return before(a, b); };
    if (keep < count) std::nth_element(order, order + keep, order + count, less);
    std::sort(order, order + std::min(keep, count), less);
  }

  // Drops everything less likely than the candidate at index `last`.
  void keep_through(int32_t last) {
    const float bound = logit[last];
    int64_t kept = 0;
    for (int64_t i = 0; i < count; i++) {
      if (!(logit[i] > bound || (logit[i] == bound && i <= last))) continue;
      logit[kept] = logit[i];
      weight[kept] = weight[i];
      token[kept] = token[i];
      kept++;
    }
    count = kept;
  }

  // k >= 1
  void keep_top(int64_t k) {
    if (k >= count) return;
    reset_order();
    std::nth_element(order, order + (k - 1), order + count, [this](int32_t a, int32_t b) { return before(a, b); });
    keep_through(order[k - 1]);
  }

  // Keeps the shortest run of most likely candidates whose weights reach `goal`; all when they do not.
  void keep_mass(double goal) {
    if (count < 2) return;
    reset_order();
    const auto less = [this](int32_t a, int32_t b) { return before(a, b); };
    int64_t first = 0, end = count;
    double mass = 0;  // of order[0 .. first), all kept
    while (end - first > 32) {
      const int64_t middle = first + (end - first) / 2;
      std::nth_element(order + first, order + middle, order + end, less);
      double half = 0;
      for (int64_t i = first; i < middle; i++) half += weight[order[i]];
      if (mass + half >= goal) {
        end = middle;
      } else {
        mass += half;
        first = middle;
      }
    }
    std::sort(order + first, order + end, less);
    int64_t last = first;
    while (last < end) {
      mass += weight[order[last]];
      if (mass >= goal) break;
      last++;
    }
    // When order[first .. end) fell short by rounding, its last is the nearest cut.
    keep_through(order[std::min(last, end - 1)]);
  }

  void keep_weight(float least) {
    int64_t kept = 0;
    for (int64_t i = 0; i < count; i++) {
      if (!(weight[i] >= least)) continue;
      logit[kept] = logit[i];
      weight[kept] = weight[i];
      token[kept] = token[i];
      kept++;
    }
    count = kept;
  }

  double mass() const {
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += weight[i];
    return sum;
  }

  // The first candidate at which the running sum exceeds `target`; the last with any weight when rounding kept it below.
  int32_t draw(double target) const {
    double sum = 0;
    int32_t chosen = token[0];
    for (int64_t i = 0; i < count; i++) {
      if (!(weight[i] > 0)) continue;
      chosen = token[i];
      sum += weight[i];
      if (sum > target) break;
    }
    return chosen;
  }
};

}  // namespace heddle
