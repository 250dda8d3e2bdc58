// The bytes of an HTTP/1.1 request as they arrive, and whether they are all there. What they mean
// is not looked at.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace rw {

class GatheredRequest {
 public:
  // Of requests that `is_streamed` says so of, the head is enough: whoever works on it receives the
  // body.
  explicit GatheredRequest(size_t max_body_bytes,
                           bool (*is_streamed)(std::string_view request) = nullptr)
      : max_body_bytes_(max_body_bytes), is_streamed_(is_streamed) {}

  // What is too large is over at that point: whoever reads it will see that.
  void Append(std::string_view bytes);
  bool whole() const { return whole_; }
  const std::string& bytes() const { return bytes_; }
  std::string Take() { return std::move(bytes_); }

 private:
  void ReadHead();
  void ReadHeader(std::string_view line);
  void ReadChunks();

  static constexpr size_t kMaxHeadBytes = 64 << 10;

  size_t max_body_bytes_;
  bool (*is_streamed_)(std::string_view request);
  std::string bytes_;
  bool whole_ = false;
  size_t head_bytes_ = 0;  // 0: its end is not there yet
  size_t searched_ = 0;    // how far its end was looked for
  size_t body_bytes_ = 0;  // as announced
  bool chunked_ = false;
  bool in_trailers_ = false;  // after the last chunk
  size_t next_chunk_ = 0;     // where its size line, or a trailer, begins
};

}  // namespace rw
