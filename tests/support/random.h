// Random numbers that are the same on every machine for the same seed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <random>
#include <string>

namespace rw::testing {

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}

  uint64_t Next() { return engine_(); }
  // From 0 to `bound` - 1.
  uint64_t Below(uint64_t bound) { return engine_() % bound; }
  bool OneIn(uint64_t n) { return Below(n) == 0; }
  bool Percent(uint64_t percent) { return Below(100) < percent; }

  template <typename T, size_t kCount>
  const T& Pick(const T (&choices)[kCount]) {
    return choices[Below(kCount)];
  }
  template <typename Container>
  const auto& PickFrom(const Container& choices) {
    auto chosen = choices.begin();
    std::advance(chosen, static_cast<ptrdiff_t>(Below(choices.size())));
    return *chosen;
  }

  std::string Bytes(size_t count) {
    std::string out(count, '\0');
    uint64_t word = Next();
    for (size_t i = 0; i < count; ++i) {
      if (i % 8 == 0) word = word * 6364136223846793005u + 1442695040888963407u;
      out[i] = static_cast<char>(word >> (8 * (i % 8)));
    }
    return out;
  }

 private:
  std::mt19937_64 engine_;
};

// The value of an environment variable as a number, or `fallback`.
inline uint64_t NumberFromEnvironment(const char* name, uint64_t fallback) {
  const char* text = std::getenv(name);
  return text == nullptr ? fallback : std::strtoull(text, nullptr, 10);
}

}  // namespace rw::testing
