#include "plugin/tree_stream.h"

#include <algorithm>
#include <cerrno>

#include "metadata/coding.h"
#include "metadata/refused.h"

namespace rw {
namespace {

constexpr size_t kHeadBytes = 1 + sizeof(uint32_t);

[[noreturn]] void RefuseBytes() {
  throw Refused(EPROTO, "what arrives is not a tree as this version of rewind sends it");
}

// The decoder takes its bytes for a disk's.
template <typename Fn>
auto Decode(std::string_view payload, Fn fn) {
  try {
    Decoder decoder(payload);
    auto value = fn(decoder);
    decoder.ExpectEnd();
    return value;
  } catch (const Refused&) {
    RefuseBytes();
  }
}

std::string Head(FrameKind kind, size_t bytes) {
  std::string head(1, static_cast<char>(kind));
  PutFixed(&head, static_cast<uint32_t>(bytes));
  return head;
}

}  // namespace

std::string EncodeFrame(FrameKind kind, std::string_view payload) {
  return Head(kind, payload.size()).append(payload);
}

std::string EncodeNode(const StreamNode& node) {
  std::string payload;
  PutBytes(&payload, node.path);
  for (const uint64_t number : {uint64_t{node.mode}, uint64_t{node.uid}, uint64_t{node.gid},
                                uint64_t{node.rdev}, node.size})
    PutVarint(&payload, number);
  PutTime(&payload, node.atime);
  PutTime(&payload, node.mtime);
  PutBytes(&payload, node.target);
  PutVarint(&payload, node.ino);
  return EncodeFrame(FrameKind::kNode, payload);
}

StreamNode DecodeNode(std::string_view payload) {
  return Decode(payload, [](Decoder& decoder) {
    StreamNode node;
    node.path = decoder.Bytes();
    node.mode = decoder.Number<uint32_t>();
    node.uid = decoder.Number<uint32_t>();
    node.gid = decoder.Number<uint32_t>();
    node.rdev = decoder.Number<uint32_t>();
    node.size = decoder.Varint();
    node.atime = GetTime(&decoder);
    node.mtime = GetTime(&decoder);
    node.target = decoder.Bytes();
    node.ino = decoder.Varint();
    return node;
  });
}

std::string EncodeXattr(std::string_view name, std::string_view value) {
  std::string payload;
  PutBytes(&payload, name);
  PutBytes(&payload, value);
  return EncodeFrame(FrameKind::kXattr, payload);
}

std::pair<std::string_view, std::string_view> DecodeXattr(std::string_view payload) {
  return Decode(payload, [](Decoder& decoder) {
    const std::string_view name = decoder.Bytes();
    return std::pair(name, decoder.Bytes());
  });
}

std::string EncodeRanges(const std::vector<Range>& ranges) {
  std::string payload;
  for (const auto& [offset, length] : ranges) {
    PutVarint(&payload, offset);
    PutVarint(&payload, length);
  }
  return EncodeFrame(FrameKind::kRanges, payload);
}

std::vector<Range> DecodeRanges(std::string_view payload) {
  return Decode(payload, [](Decoder& decoder) {
    std::vector<Range> ranges;
    while (!decoder.empty()) {
      const uint64_t offset = decoder.Varint();
      ranges.emplace_back(offset, decoder.Varint());
    }
    return ranges;
  });
}

std::string EncodeDataHead(uint64_t offset, size_t bytes) {
  std::string head = Head(FrameKind::kData, sizeof(offset) + bytes);
  PutFixed(&head, offset);
  return head;
}

std::pair<uint64_t, std::string_view> DecodeData(std::string_view payload) {
  return Decode(payload, [](Decoder& decoder) {
    const auto offset = decoder.Fixed<uint64_t>();
    return std::pair(offset, decoder.Take(decoder.rest().size()));
  });
}

std::string EncodeLink(const StreamLink& link) {
  std::string payload;
  PutBytes(&payload, link.path);
  PutVarint(&payload, link.ino);
  PutBytes(&payload, link.target);
  return EncodeFrame(FrameKind::kLink, payload);
}

StreamLink DecodeLink(std::string_view payload) {
  return Decode(payload, [](Decoder& decoder) {
    StreamLink link;
    link.path = decoder.Bytes();
    link.ino = decoder.Varint();
    link.target = decoder.Bytes();
    return link;
  });
}

void FrameReader::Append(std::string_view bytes) {
  while (!partial_.empty() && !bytes.empty()) {
    // Only as much as completes one frame, so that what follows is not copied.
    size_t wanted = kHeadBytes;
    if (partial_.size() >= kHeadBytes) wanted += GetFixed<uint32_t>(partial_.data() + 1);
    const size_t taken = std::min(bytes.size(), wanted - partial_.size());
    partial_.append(bytes.substr(0, taken));
    bytes.remove_prefix(taken);
    if (partial_.size() < kHeadBytes) return;
    const size_t length = GetFixed<uint32_t>(partial_.data() + 1);
    if (length > kMaxFrameBytes) RefuseBytes();
    if (partial_.size() < kHeadBytes + length) continue;
    std::string whole;
    whole.swap(partial_);
    std::string_view rest = whole;
    Cut(&rest);
  }
  std::string_view rest = bytes;
  while (!rest.empty()) {
    const size_t before = rest.size();
    Cut(&rest);
    if (rest.size() == before) break;
  }
  partial_.append(rest);
}

void FrameReader::Cut(std::string_view* bytes) {
  if (ended_) RefuseBytes();  // nothing follows the end
  if (bytes->size() < kHeadBytes) return;
  const size_t length = GetFixed<uint32_t>(bytes->data() + 1);
  if (length > kMaxFrameBytes) RefuseBytes();
  if (bytes->size() - kHeadBytes < length) return;
  const Frame frame{static_cast<FrameKind>(bytes->front()), bytes->substr(kHeadBytes, length)};
  bytes->remove_prefix(kHeadBytes + length);
  take_(frame);
  ended_ = frame.kind == FrameKind::kEnd || frame.kind == FrameKind::kFailed;
}

}  // namespace rw
