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

  // Written without a branch: which candidates stay is hard to predict.
  template <class Stays>
  void keep(const Stays& stays) {
    int64_t kept = 0;
    for (int64_t i = 0; i < count; i++) {
      const bool stay = stays(i);
      logit[kept] = logit[i];
      weight[kept] = weight[i];
      token[kept] = token[i];
      kept += stay ? 1 : 0;
    }
    count = kept;
  }

  // order[0 .. wanted) become the most likely, in order.
  void rank(int64_t wanted) {
    reset_order();
    const auto less = [this](int32_t a, int32_t b) { return before(a, b); };
    if (wanted < count) std::nth_element(order, order + wanted, order + count, less);
    std::sort(order, order + std::min(wanted, count), less);
  }

  // Drops everything less likely than the candidate at index `last`.
  void keep_through(int32_t last) {
    const float bound = logit[last];
    keep([&](int64_t i) { return logit[i] > bound || (logit[i] == bound && i <= last); });
  }

  // k >= 1
  void keep_top(int64_t k) {
    if (k < count) keep_through(cut<true>(static_cast<double>(k)));
  }

  // Keeps the shortest run of most likely candidates whose weights reach `goal`; all when they do not.
  void keep_mass(double goal) {
    if (count > 1) keep_through(cut<false>(goal));
  }

  // The candidate at which the running sum, most likely first, reaches `goal`: of ones (kCount) or of weights. Instead of
  // sorting, the logits' range is divided into buckets, and the bucket that holds the cut again, until few are left.
  template <bool kCount>
  int32_t cut(double goal) {
    constexpr int kBuckets = 1024;
    constexpr int64_t kFew = 64;
    reset_order();
    int64_t left = count;
    double passed = 0;  // of the buckets before the one in hand
    for (;;) {
      float high = logit[order[0]], low = high;
      for (int64_t i = 1; i < left; i++) {
        high = std::max(high, logit[order[i]]);
        low = std::min(low, logit[order[i]]);
      }
      if (left <= kFew || high == low) break;
      const double slope = kBuckets / (static_cast<double>(high) - low);
      // Monotone in the logit; the highest and the lowest fall into different buckets, so every round makes progress.
      const auto bucket_of = [&](int32_t i) { return std::min(kBuckets - 1, static_cast<int>((static_cast<double>(high) - logit[i]) * slope)); };
      double sums[kBuckets] = {};
      for (int64_t i = 0; i < left; i++) sums[bucket_of(order[i])] += kCount ? 1.0 : weight[order[i]];
      int chosen = 0;
      while (chosen < kBuckets - 1 && passed + sums[chosen] < goal) passed += sums[chosen++];
      int64_t kept = 0;
      for (int64_t i = 0; i < left; i++) {
        const int32_t candidate = order[i];
        order[kept] = candidate;
        kept += bucket_of(candidate) == chosen ? 1 : 0;
      }
      left = kept;
    }
    // Equal logits are in order already: by id.
    if (left <= kFew) std::sort(order, order + left, [this](int32_t a, int32_t b) { return before(a, b); });
    for (int64_t i = 0; i < left; i++) {
      passed += kCount ? 1.0 : weight[order[i]];
      if (passed >= goal) return order[i];
    }
    return order[left - 1];  // rounding left the sum short
  }

  void keep_weight(float least) {
    keep([&](int64_t i) { return weight[i] >= least; });
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
