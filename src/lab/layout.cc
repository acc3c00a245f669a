#include "lab/layout.h"

#include <algorithm>
#include <cstdlib>

namespace ocicat::lab {
namespace {

constexpr std::string_view kRoot = "/run/ocicat/lab";
constexpr std::size_t kLongestName = 40;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || is_digit(c) || c == '-';
}

}  // namespace

Result<Layout> Layout::named(std::string_view name) {
  std::string chosen(name);
  if (chosen.empty()) {
    const char* from_environment = std::getenv("OCICAT_LAB");
    chosen = from_environment != nullptr && *from_environment != '\0' ? from_environment : "default";
  }
  if (chosen.size() > kLongestName || chosen.front() == '-' || chosen.back() == '-' ||
      !std::ranges::all_of(chosen, is_name_character)) {
    return fail(ErrorCode::kInvalid,
                "lab name \"{}\": must be lower-case letters, digits and dashes, at most {}", chosen,
                kLongestName);
  }
  if (chosen.find("-host") != std::string::npos || chosen.find("-pod-") != std::string::npos) {
    return fail(ErrorCode::kInvalid, "lab name \"{}\": must not contain \"-host\" or \"-pod-\"", chosen);
  }
  return Layout(std::move(chosen));
}

std::vector<std::string> Layout::existing() {
  std::vector<std::string> names;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(kRoot, ignored)) {
    if (entry.is_directory()) names.push_back(entry.path().filename().string());
  }
  std::ranges::sort(names);
  return names;
}

std::filesystem::path Layout::folder() const {
  return std::filesystem::path(kRoot) / name_;
}

std::filesystem::path Layout::pod_file(std::string_view ns, std::string_view pod) const {
  return pods_folder() / fmt::format("{}.{}.json", ns, pod);
}

std::filesystem::path Layout::log_file(std::string_view process) const {
  return folder() / "log" / fmt::format("{}.log", process);
}

std::filesystem::path Layout::process_file(std::string_view process) const {
  return folder() / "process" / process;
}

std::string Layout::host_namespace(std::string_view host) const {
  return fmt::format("{}-{}", name_, host);
}

std::string Layout::pod_namespace(std::string_view ns, std::string_view pod) const {
  return fmt::format("{}-pod-{}.{}", name_, ns, pod);
}

bool Layout::owns_namespace(std::string_view network_namespace) const {
  if (!network_namespace.starts_with(name_)) return false;
  std::string_view rest = network_namespace.substr(name_.size());
  if (rest.starts_with("-pod-")) return rest.find('.') != std::string_view::npos;
  if (!rest.starts_with("-host")) return false;
  rest.remove_prefix(std::string_view("-host").size());
  return !rest.empty() && std::ranges::all_of(rest, is_digit);
}

}  // namespace ocicat::lab
