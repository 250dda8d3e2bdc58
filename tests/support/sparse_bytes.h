// The contents of a file in the reference model: a size and the pages that were ever written.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>

namespace rw::testing {

inline constexpr uint64_t kPageBytes = 4096;

bool AllZero(std::span<const char> bytes);

// Hashes contents page by page, so that pages of zeros cost nothing and need not be known.
class ContentHasher {
 public:
  // `page` is the page of that number, zero-filled to kPageBytes. Pages must come in increasing
  // order.
  void AddPage(uint64_t number, std::span<const char> page);
  // Hashes bytes that begin at offset 0 of the file.
  void AddAll(std::span<const char> bytes);
  uint64_t hash() const { return hash_; }

 private:
  friend class SparseBytes;
  void AddHash(uint64_t number, uint64_t page_hash);
  uint64_t hash_ = 0x5eed;
};

// A value type: copies share their pages. Bytes never written, and bytes beyond the size, are
// zeros.
class SparseBytes {
 public:
  uint64_t size() const { return size_; }
  void Write(uint64_t offset, std::span<const char> data);
  void Zero(uint64_t offset, uint64_t length);  // does not change the size
  void Resize(uint64_t size);
  // At most `length` bytes from `offset`; fewer at the end of the file.
  std::string Read(uint64_t offset, uint64_t length) const;
  uint64_t Hash() const;

 private:
  struct Page {
    std::array<char, kPageBytes> bytes{};
    uint64_t hash = 0;
    bool zero = true;
  };
  // Calls `change(bytes of the page, from, to)` for each page that the range touches.
  template <typename Change>
  void ChangePages(uint64_t offset, uint64_t length, const Change& change);

  uint64_t size_ = 0;
  std::map<uint64_t, std::shared_ptr<const Page>> pages_;  // pages of zeros are not in it
};

}  // namespace rw::testing
