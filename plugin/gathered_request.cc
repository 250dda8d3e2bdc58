#include "plugin/gathered_request.h"

#include <strings.h>

#include <algorithm>
#include <charconv>
#include <optional>

namespace rw {
namespace {

constexpr std::string_view kLineEnd = "\r\n";
constexpr std::string_view kHeadEnd = "\r\n\r\n";

bool SameWord(std::string_view a, std::string_view b) {
  return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
}

std::string_view Trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// Nothing if it is no number, or one that does not fit.
std::optional<size_t> ToNumber(std::string_view text, int base) {
  size_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, base);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

}  // namespace

void GatheredRequest::Append(std::string_view bytes) {
  if (whole_) return;
  bytes_.append(bytes);
  if (head_bytes_ == 0) ReadHead();
  if (head_bytes_ == 0 || whole_) return;
  if (chunked_) {
    ReadChunks();
  } else {
    whole_ = bytes_.size() - head_bytes_ >= body_bytes_;
  }
}

void GatheredRequest::ReadHead() {
  const size_t from = searched_ - std::min(searched_, kHeadEnd.size() - 1);
  const size_t end = bytes_.find(kHeadEnd, from);
  searched_ = bytes_.size();
  if (end == std::string::npos) {
    whole_ = bytes_.size() > kMaxHeadBytes;
    return;
  }
  head_bytes_ = end + kHeadEnd.size();
  next_chunk_ = head_bytes_;
  std::string_view head = std::string_view(bytes_).substr(0, end);
  while (!head.empty()) {
    const size_t line_end = std::min(head.find(kLineEnd), head.size());
    ReadHeader(head.substr(0, line_end));
    head.remove_prefix(std::min(line_end + kLineEnd.size(), head.size()));
  }
  whole_ = whole_ || (is_streamed_ != nullptr && is_streamed_(bytes_));
}

void GatheredRequest::ReadHeader(std::string_view line) {
  const size_t colon = line.find(':');
  if (colon == line.npos) return;
  const std::string_view name = line.substr(0, colon);
  const std::string_view value = Trim(line.substr(colon + 1));
  if (SameWord(name, "Transfer-Encoding")) chunked_ = SameWord(value, "chunked");
  if (!SameWord(name, "Content-Length")) return;
  const std::optional<size_t> bytes = ToNumber(value, 10);
  if (!bytes || *bytes > max_body_bytes_) {
    whole_ = true;  // it is refused whatever comes
  } else {
    body_bytes_ = *bytes;
  }
}

void GatheredRequest::ReadChunks() {
  for (;;) {
    // Sizes and trailers count, too: chunks of one byte are six times as large as what they hold.
    if (bytes_.size() - head_bytes_ > 8 * max_body_bytes_) whole_ = true;
    const size_t end = bytes_.find(kLineEnd, std::min(next_chunk_, bytes_.size()));
    if (whole_ || end == std::string::npos) return;
    const std::string_view line = std::string_view(bytes_).substr(next_chunk_, end - next_chunk_);
    next_chunk_ = end + kLineEnd.size();
    if (in_trailers_) {
      whole_ = line.empty();
      continue;
    }
    const std::optional<size_t> bytes = ToNumber(Trim(line.substr(0, line.find(';'))), 16);
    if (!bytes || *bytes > max_body_bytes_) {
      whole_ = true;
      return;
    }
    in_trailers_ = *bytes == 0;
    if (!in_trailers_) next_chunk_ += *bytes + kLineEnd.size();
  }
}

}  // namespace rw
