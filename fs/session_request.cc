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

}  // namespace

RawRequest ParseRawRequest(const void* bytes, size_t size) {
  RawRequest request;
  fuse_in_header header;
  if (!ReadAt(bytes, size, 0, &header)) return request;
  request.opcode = header.opcode;
  request.unique = header.unique;
  fuse_write_in write;
  fuse_setattr_in setattr;
  if (header.opcode == FUSE_WRITE && ReadAt(bytes, size, sizeof(header), &write)) {
    request.kill_suid_sgid = (write.write_flags & FUSE_WRITE_KILL_SUIDGID) != 0;
  } else if (header.opcode == FUSE_SETATTR && ReadAt(bytes, size, sizeof(header), &setattr)) {
    request.kill_suid_sgid = (setattr.valid & FATTR_KILL_SUIDGID) != 0;
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

void InitExchange::EditReply(void* header, size_t header_size, void* body, size_t body_size) const {
  fuse_out_header out;
  if (unique == 0 || !ReadAt(header, header_size, 0, &out) || out.unique != unique ||
      out.error != 0)
    return;
  fuse_init_out init;
  const size_t flags_end = offsetof(fuse_init_out, flags) + sizeof(init.flags);
  if (body_size < flags_end || (offered & FUSE_HANDLE_KILLPRIV_V2) == 0) return;
  auto* flags = static_cast<char*>(body) + offsetof(fuse_init_out, flags);
  uint32_t value;
  std::memcpy(&value, flags, sizeof(value));
  value |= FUSE_HANDLE_KILLPRIV_V2;
  std::memcpy(flags, &value, sizeof(value));
}

}  // namespace rw
