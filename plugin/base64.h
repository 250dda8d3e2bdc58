// Bytes in JSON (RFC 4648, section 4).
#pragma once

#include <string>
#include <string_view>

namespace rw {

std::string EncodeBase64(std::string_view bytes);
std::string DecodeBase64(std::string_view text);  // throws Refused(EPROTO)

}  // namespace rw
