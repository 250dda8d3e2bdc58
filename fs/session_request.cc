#include "fs/session_request.h"

#include <linux/fuse.h>

#include <cstring>

namespace rw {
namespace {

template <typename T>
bool ReadAt(const void* bytes, size_t size, size_t offset, T* out) {
  if (size < offset + sizeof(T)) return false;
  std::memcpy(out, static_cast<const char*>(bytes) + offset, sizeof(T));
  return true;
}

// Drops the part of a setxattr request that libfuse does not expect between the fixed fields and
// the name.
void ShortenSetXattr(void* bytes, size_t* size, fuse_in_header header) {
  constexpr size_t kFrom = sizeof(header) + FUSE_COMPAT_SETXATTR_IN_SIZE;
  constexpr size_t kDropped = sizeof(fuse_setxattr_in) - FUSE_COMPAT_SETXATTR_IN_SIZE;
  auto* at = static_cast<char*>(bytes);
  std::memmove(at + kFrom, at + kFrom + kDropped, *size - kFrom - kDropped);
  *size -= kDropped;
  header.len = static_cast<uint32_t>(*size);
  std::memcpy(bytes, &header, sizeof(header));
}

}  // namespace

RawRequest TranslateRequest(void* bytes, size_t* size_in_out, uint32_t agreed) {
  const size_t size = *size_in_out;
  RawRequest request;
  fuse_in_header header;
  if (!ReadAt(bytes, size, 0, &header)) return request;
  request.opcode = header.opcode;
  request.unique = header.unique;
  fuse_write_in write;
  fuse_setattr_in setattr;
  fuse_setxattr_in setxattr;
  if (header.opcode == FUSE_WRITE && ReadAt(bytes, size, sizeof(header), &write)) {
    request.kill_suid_sgid = (write.write_flags & FUSE_WRITE_KILL_SUIDGID) != 0;
    request.from_cache = (write.write_flags & FUSE_WRITE_CACHE) != 0;
  } else if (header.opcode == FUSE_SETATTR && ReadAt(bytes, size, sizeof(header), &setattr)) {
    request.kill_suid_sgid = (setattr.valid & FATTR_KILL_SUIDGID) != 0;
  } else if (header.opcode == FUSE_SETXATTR && (agreed & FUSE_SETXATTR_EXT) != 0 &&
             ReadAt(bytes, size, sizeof(header), &setxattr)) {
    request.kill_sgid = (setxattr.setxattr_flags & FUSE_SETXATTR_ACL_KILL_SGID) != 0;
    ShortenSetXattr(bytes, size_in_out, header);
  } else if (header.opcode == FUSE_TMPFILE) {
    request.unnamed = true;
    header.opcode = FUSE_CREATE;
    std::memcpy(bytes, &header, sizeof(header));
  }
  return request;
}

RawRequest& CurrentRequest() {
  static thread_local RawRequest request;
  return request;
}

void InitExchange::SawRequest(const void* bytes, size_t size) {
  fuse_in_header header;
  fuse_init_in init;
  if (!ReadAt(bytes, size, 0, &header) || header.opcode != FUSE_INIT) return;
  // Kernels before 7.36 send a shorter request; the flags are in its first part.
  std::memset(&init, 0, sizeof(init));
  const size_t body = size - sizeof(header);
  std::memcpy(&init, static_cast<const char*>(bytes) + sizeof(header),
              body < sizeof(init) ? body : sizeof(init));
  unique = header.unique;
  offered = init.flags;
}

uint32_t InitExchange::EditReply(void* header, size_t header_size, void* body,
                                 size_t body_size) const {
  fuse_out_header out;
  if (unique == 0 || !ReadAt(header, header_size, 0, &out) || out.unique != unique ||
      out.error != 0)
    return 0;
  fuse_init_out init;
  const size_t flags_end = offsetof(fuse_init_out, flags) + sizeof(init.flags);
  if (body_size < flags_end) return 0;
  auto* flags = static_cast<char*>(body) + offsetof(fuse_init_out, flags);
  uint32_t value;
  std::memcpy(&value, flags, sizeof(value));
  value |= offered & (FUSE_HANDLE_KILLPRIV_V2 | FUSE_SETXATTR_EXT);
  std::memcpy(flags, &value, sizeof(value));
  return value;
}

}  // namespace rw
