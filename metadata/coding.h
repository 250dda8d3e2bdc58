// Bytes of numbers: varints (LEB128), fixed-width little-endian, and big-endian for keys that must
// sort.
#pragma once

#include <errno.h>

#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>

#include "metadata/refused.h"

namespace rw {

template <typename T>
void PutFixed(std::string* out, T value) {
  static_assert(std::endian::native == std::endian::little, "the on-disk format is little-endian");
  out->append(reinterpret_cast<const char*>(&value), sizeof(T));
}

template <typename T>
T GetFixed(const char* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

template <typename T>
void PutBigEndian(std::string* out, T value) {
  for (int shift = static_cast<int>(sizeof(T) - 1) * 8; shift >= 0; shift -= 8) {
    out->push_back(static_cast<char>(value >> shift));
  }
}

template <typename T>
T GetBigEndian(const char* from) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i)
    value = static_cast<T>(value << 8) | static_cast<uint8_t>(from[i]);
  return value;
}

inline void PutVarint(std::string* out, uint64_t value) {
  while (value >= 0x80) {
    out->push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out->push_back(static_cast<char>(value));
}

inline void PutSigned(std::string* out, int64_t value) {
  PutVarint(out, (static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63));
}

inline void PutBytes(std::string* out, std::string_view bytes) {
  PutVarint(out, bytes.size());
  out->append(bytes);
}

// Reads what the functions above wrote. Every read throws Refused(EIO) when the bytes end too early
// or do not make sense: bytes come from a disk.
class Decoder {
 public:
  explicit Decoder(std::string_view bytes) : bytes_(bytes) {}

  bool empty() const { return bytes_.empty(); }
  std::string_view rest() const { return bytes_; }

  uint64_t Varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (bytes_.empty()) Fail();
      const auto byte = static_cast<uint8_t>(bytes_.front());
      bytes_.remove_prefix(1);
      if (shift == 63 && byte > 1) Fail();
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    Fail();
  }

  // A varint that must fit T.
  template <typename T>
  T Number() {
    const uint64_t value = Varint();
    if (value > std::numeric_limits<T>::max()) Fail();
    return static_cast<T>(value);
  }

  int64_t Signed() {
    const uint64_t value = Varint();
    return static_cast<int64_t>(value >> 1) ^ -static_cast<int64_t>(value & 1);
  }

  template <typename T>
  T Fixed() {
    return GetFixed<T>(Take(sizeof(T)).data());
  }

  std::string_view Bytes() { return Take(Varint()); }

  std::string_view Take(uint64_t count) {
    if (count > bytes_.size()) Fail();
    std::string_view taken = bytes_.substr(0, count);
    bytes_.remove_prefix(count);
    return taken;
  }

  void ExpectEnd() const {
    if (!bytes_.empty()) Fail();
  }

  [[noreturn]] static void Fail() { throw Refused(EIO, "stored bytes do not decode"); }

 private:
  std::string_view bytes_;
};

}  // namespace rw
