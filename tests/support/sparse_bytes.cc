#include "tests/support/sparse_bytes.h"

#include <xxhash.h>

#include <algorithm>
#include <cstring>

namespace rw::testing {

bool AllZero(std::span<const char> bytes) {
  return bytes.empty() ||
         (bytes[0] == 0 && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

void ContentHasher::AddHash(uint64_t number, uint64_t page_hash) {
  const uint64_t parts[3] = {hash_, number, page_hash};
  hash_ = XXH3_64bits(parts, sizeof(parts));
}

void ContentHasher::AddPage(uint64_t number, std::span<const char> page) {
  if (!AllZero(page)) AddHash(number, XXH3_64bits(page.data(), page.size()));
}

void ContentHasher::AddAll(std::span<const char> bytes) {
  for (uint64_t offset = 0; offset < bytes.size(); offset += kPageBytes) {
    const auto part = bytes.subspan(offset, std::min<uint64_t>(kPageBytes, bytes.size() - offset));
    if (part.size() == kPageBytes) {
      AddPage(offset / kPageBytes, part);
      continue;
    }
    std::array<char, kPageBytes> padded{};
    std::copy(part.begin(), part.end(), padded.begin());
    AddPage(offset / kPageBytes, padded);
  }
}

template <typename Change>
void SparseBytes::ChangePages(uint64_t offset, uint64_t length, const Change& change) {
  for (const uint64_t end = offset + length; offset < end;) {
    const uint64_t number = offset / kPageBytes;
    const uint64_t from = offset % kPageBytes;
    const uint64_t to = std::min(kPageBytes, from + (end - offset));
    const auto old = pages_.find(number);
    auto page =
        old == pages_.end() ? std::make_shared<Page>() : std::make_shared<Page>(*old->second);
    change(page->bytes, from, to);
    page->zero = AllZero(page->bytes);
    page->hash = XXH3_64bits(page->bytes.data(), kPageBytes);
    if (page->zero) {
      pages_.erase(number);
    } else {
      pages_[number] = std::move(page);
    }
    offset += to - from;
  }
}

void SparseBytes::Write(uint64_t offset, std::span<const char> data) {
  if (data.empty()) return;
  const char* next = data.data();
  ChangePages(offset, data.size(), [&next](auto& bytes, uint64_t from, uint64_t to) {
    std::memcpy(bytes.data() + from, next, to - from);
    next += to - from;
  });
  size_ = std::max<uint64_t>(size_, offset + data.size());
}

void SparseBytes::Zero(uint64_t offset, uint64_t length) {
  if (offset >= size_) return;
  const uint64_t end = std::min(size_, offset + length);
  // Whole pages go as they are; only the two at the edges are changed.
  const uint64_t first_whole = (offset + kPageBytes - 1) / kPageBytes;
  const uint64_t end_whole = end / kPageBytes;
  if (first_whole < end_whole) {
    pages_.erase(pages_.lower_bound(first_whole), pages_.lower_bound(end_whole));
  }
  const auto clear = [](auto& bytes, uint64_t from, uint64_t to) {
    std::fill(bytes.begin() + from, bytes.begin() + to, 0);
  };
  const auto clear_page_part = [&](uint64_t from, uint64_t to) {
    if (from < to && pages_.count(from / kPageBytes) != 0) ChangePages(from, to - from, clear);
  };
  if (first_whole > end_whole) {
    clear_page_part(offset, end);
  } else {
    clear_page_part(offset, first_whole * kPageBytes);
    clear_page_part(end_whole * kPageBytes, end);
  }
}

void SparseBytes::Resize(uint64_t size) {
  if (size < size_) Zero(size, size_ - size);
  size_ = size;
}

std::string SparseBytes::Read(uint64_t offset, uint64_t length) const {
  if (offset >= size_) return {};
  std::string out(std::min(length, size_ - offset), '\0');
  for (uint64_t done = 0; done < out.size();) {
    const uint64_t from = (offset + done) % kPageBytes;
    const uint64_t count = std::min<uint64_t>(kPageBytes - from, out.size() - done);
    const auto page = pages_.find((offset + done) / kPageBytes);
    if (page != pages_.end()) {
      std::memcpy(out.data() + done, page->second->bytes.data() + from, count);
    }
    done += count;
  }
  return out;
}

uint64_t SparseBytes::Hash() const {
  ContentHasher hasher;
  for (const auto& [number, page] : pages_) hasher.AddHash(number, page->hash);
  return hasher.hash();
}

}  // namespace rw::testing
