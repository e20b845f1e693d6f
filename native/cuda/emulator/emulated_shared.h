// Pointers to shared memory that check every access.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "cuda/emulator/emulated_launch.h"
#include "cuda/emulator/shared_memory.h"

namespace heddle::emulator {

template <size_t Bytes>
inline constexpr uint32_t kAccessBytes = Bytes <= 16 && (Bytes & (Bytes - 1)) == 0 ? static_cast<uint32_t>(Bytes) : 0;

template <class T>
T shared_value(SharedAddress at) {
  static_assert(std::is_trivially_copyable_v<T>, "shared memory holds plain values");
  T value;
  std::memcpy(&value, read_shared<kAccessBytes<sizeof(T)>>(at, alignof(T), threadIdx.x, sizeof value), sizeof value);
  return value;
}

template <class T>
void set_shared(SharedAddress at, const T& value) {
  std::memcpy(write_shared<kAccessBytes<sizeof(T)>>(at, alignof(T), sizeof value), &value, sizeof value);
}

// One element, as `pointer[i]` names it. Converts where a value is wanted; where a template deduces, write static_cast<T>(pointer[i]).
template <class T>
class SharedElement {
 public:
  using Value = std::remove_const_t<T>;
  explicit SharedElement(SharedAddress at) : at_(at) {}
  SharedElement(const SharedElement&) = default;

  operator Value() const { return shared_value<Value>(at_); }
  const SharedElement& operator=(const Value& value) const {
    store(value);
    return *this;
  }
  const SharedElement& operator=(const SharedElement& other) const {
    store(static_cast<Value>(other));
    return *this;
  }
  template <class U>
  const SharedElement& operator+=(const U& value) const { return *this = static_cast<Value>(shared_value<Value>(at_) + value); }
  template <class U>
  const SharedElement& operator-=(const U& value) const { return *this = static_cast<Value>(shared_value<Value>(at_) - value); }
  template <class U>
  const SharedElement& operator*=(const U& value) const { return *this = static_cast<Value>(shared_value<Value>(at_) * value); }
  template <class U>
  const SharedElement& operator/=(const U& value) const { return *this = static_cast<Value>(shared_value<Value>(at_) / value); }
  template <class U>
  const SharedElement& operator|=(const U& value) const { return *this = static_cast<Value>(shared_value<Value>(at_) | value); }
  template <class U>
  const SharedElement& operator&=(const U& value) const { return *this = static_cast<Value>(shared_value<Value>(at_) & value); }
  template <class U>
  const SharedElement& operator^=(const U& value) const { return *this = static_cast<Value>(shared_value<Value>(at_) ^ value); }
  const SharedElement& operator++() const { return *this += 1; }
  const SharedElement& operator--() const { return *this -= 1; }
  Value operator++(int) const {
    const Value before = *this;
    *this += 1;
    return before;
  }
  Value operator--(int) const {
    const Value before = *this;
    *this -= 1;
    return before;
  }

 private:
  void store(const Value& value) const {
    static_assert(!std::is_const_v<T>, "a store through SharedPointer<const T>");
    set_shared<Value>(at_, value);
  }
  SharedAddress at_;
};

template <class T>
class SharedPointer {
 public:
  using Value = std::remove_const_t<T>;
  SharedPointer() = default;
  SharedPointer(std::nullptr_t) {}
  explicit SharedPointer(SharedAddress at) : at_(at) {}
  template <class U, class = std::enable_if_t<std::is_same_v<const U, T>>>
  SharedPointer(SharedPointer<U> other) : at_(other.address()) {}

  template <class Index>
  SharedElement<T> operator[](Index index) const { return SharedElement<T>(moved(static_cast<int64_t>(index))); }
  SharedElement<T> operator*() const { return SharedElement<T>(at_); }

  template <class Index, class = std::enable_if_t<std::is_integral_v<Index>>>
  friend SharedPointer operator+(SharedPointer from, Index count) { return SharedPointer(from.moved(static_cast<int64_t>(count))); }
  template <class Index, class = std::enable_if_t<std::is_integral_v<Index>>>
  friend SharedPointer operator+(Index count, SharedPointer from) { return from + count; }
  template <class Index, class = std::enable_if_t<std::is_integral_v<Index>>>
  friend SharedPointer operator-(SharedPointer from, Index count) { return SharedPointer(from.moved(-static_cast<int64_t>(count))); }
  friend ptrdiff_t operator-(SharedPointer left, SharedPointer right) {
    return static_cast<int32_t>(left.at_.offset - right.at_.offset) / static_cast<ptrdiff_t>(sizeof(T));
  }
  template <class Index>
  SharedPointer& operator+=(Index count) { return *this = *this + count; }
  template <class Index>
  SharedPointer& operator-=(Index count) { return *this = *this - count; }
  SharedPointer& operator++() { return *this += 1; }
  SharedPointer& operator--() { return *this -= 1; }

  friend bool operator==(SharedPointer left, SharedPointer right) { return left.at_.offset == right.at_.offset; }
  friend bool operator!=(SharedPointer left, SharedPointer right) { return left.at_.offset != right.at_.offset; }
  friend bool operator<(SharedPointer left, SharedPointer right) { return left.at_.offset < right.at_.offset; }
  explicit operator bool() const { return at_.end != at_.begin; }

  // Elements of another type from `byte_offset` on.
  template <class U>
  SharedPointer<U> at(size_t byte_offset) const {
    return SharedPointer<U>(SharedAddress{at_.offset + static_cast<uint32_t>(byte_offset), at_.begin, at_.end});
  }
  template <class Vector>
  std::remove_const_t<Vector> load() const { return shared_value<std::remove_const_t<Vector>>(at_); }
  template <class Vector>
  void store(const Vector& value) const {
    static_assert(!std::is_const_v<T>, "a store through SharedPointer<const T>");
    set_shared<Vector>(at_, value);
  }
  SharedAddress address() const { return at_; }

 private:
  SharedAddress moved(int64_t count) const {
    return {static_cast<uint32_t>(at_.offset + count * static_cast<int64_t>(sizeof(T))), at_.begin, at_.end};
  }
  SharedAddress at_;
};

// `declaration` is a lambda written at the declaration: its type, and so `tag`, belongs to that declaration alone.
template <class T, class Declaration>
SharedPointer<T> static_shared(size_t count, Declaration) {
  static char tag;
  const uint32_t begin = place_static(&tag, count * sizeof(T));
  return SharedPointer<T>(SharedAddress{begin, begin, static_cast<uint32_t>(begin + count * sizeof(T))});
}

inline SharedPointer<std::byte> dynamic_shared() { return SharedPointer<std::byte>(SharedAddress{0, 0, shared_memory->dynamic_bytes}); }

void copy_async(SharedAddress to, const void* from, int bytes, bool valid);

// ldmatrix: `count` (2 or 4) matrices, `row` is what this lane names.
void load_matrix(uint32_t* to, int count, SharedAddress row);
void load_matrix_transposed(uint32_t* to, int count, SharedAddress row);

// What a lane brings to a product, its 16-bit elements already widened: a's registers, then b's, each lower half first.
struct Fragments {
  float a[8], b[4];
  float* d;
};
void multiply_matrix(Fragments* fragments);
template <class Widen>
void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Widen widen) {
  Fragments fragments;
  for (int i = 0; i < 8; i++) fragments.a[i] = widen(static_cast<uint16_t>(a[i / 2] >> (i % 2 * 16)));
  for (int i = 0; i < 4; i++) fragments.b[i] = widen(static_cast<uint16_t>(b[i / 2] >> (i % 2 * 16)));
  fragments.d = d;
  multiply_matrix(&fragments);
}

}  // namespace heddle::emulator
