// The texts in which people write lengths of time and amounts of bytes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace rw {

// Reads "90s", "2h30m": units w d h m s ms us ns from large to small, each at most once. Returns
// null, or why it cannot be read; an empty reason if the text is no duration at all.
const char* ReadDuration(std::string_view text, uint64_t& ns);

// The same, and "0", as the value of a setting called `what`. Throws Refused(EINVAL).
uint64_t ParseDuration(std::string_view what, std::string_view text);
// "1d", "2h30m", "0", in days at most; ParseDuration gives the same number back.
std::string FormatDuration(uint64_t ns);

// "20G", "512M", "1000": powers of 1024, from 1 to 8 EiB - 1. Throws Refused(EINVAL).
uint64_t ParseByteCount(std::string_view what, std::string_view text);
// In the largest unit that it is a multiple of; ParseByteCount gives the same number back.
std::string FormatByteCount(uint64_t bytes);

}  // namespace rw
