// Reading what is asked of an endpoint. Each throws Refused(EINVAL), saying what is missing.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace rw {

// The body of a request; a JSON object.
nlohmann::json ParseBody(const std::string& body);

std::string Text(const nlohmann::json& request, const char* key);
std::optional<std::string> OptionalText(const nlohmann::json& request, const char* key);
bool Flag(const nlohmann::json& request, const char* key);  // false if it is absent
// An array of strings.
std::vector<std::string> TextList(const nlohmann::json& request, const char* key);
// An object whose values are strings; empty if it is absent or null.
std::map<std::string, std::string> TextMap(const nlohmann::json& request, const char* key);

}  // namespace rw
