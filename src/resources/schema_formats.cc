#include "resources/schema_formats.h"

#include <fmt/format.h>
#include <re2/re2.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <map>
#include <vector>

#include "base/result.h"
#include "resources/number_or_string.h"

namespace ocicat::schema {

namespace json = boost::json;

namespace {

std::string unless(bool fine, std::string_view rule) {
  return fine ? std::string() : std::string(rule);
}

std::optional<std::int64_t> whole_number(const json::value& value) {
  if (value.is_int64()) return value.get_int64();
  if (value.is_uint64()) return INT64_MAX;  // larger than every bound there is
  return std::nullopt;
}

std::optional<std::int64_t> digits(std::string_view text) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc::result_out_of_range) return INT64_MAX;
  const bool all = error == std::errc() && end == text.data() + text.size() && text[0] != '-';
  return all ? std::optional(number) : std::nullopt;
}

std::string_view text_of(const json::value& value) {
  const auto* text = value.if_string();
  return text == nullptr ? std::string_view() : std::string_view(*text);
}

// 0 is a port as far as the type goes, but no rule may name it.
std::string check_port(const json::value& value) {
  const auto port = read_port(value);
  const auto* range = port ? std::get_if<PortRange>(&*port) : nullptr;
  const bool fine = port && (range == nullptr || range->first >= 1);
  return unless(fine, "must be a port: 1 to 65535, a range such as \"8000:8080\", or a port's name");
}

std::string check_protocol(const json::value& value) {
  return unless(read_protocol(value).has_value(),
                "must be TCP, UDP, ICMP, ICMPv6, SCTP, UDPLite or a number from 1 to 255");
}

std::string check_as_number(const json::value& value) {
  constexpr std::string_view kRule =
      "must be an AS number: 0 to 4294967295, or two 16-bit halves such as \"64.512\"";
  if (value.is_number()) {
    const auto number = whole_number(value);
    return unless(number && *number >= 0 && *number <= UINT32_MAX, kRule);
  }
  const std::string_view text = text_of(value);
  if (const auto dot = text.find('.'); dot != std::string_view::npos) {
    const auto high = digits(text.substr(0, dot));
    const auto low = digits(text.substr(dot + 1));
    return unless(high && low && *high <= UINT16_MAX && *low <= UINT16_MAX, kRule);
  }
  const auto number = digits(text);
  return unless(number && *number <= UINT32_MAX, kRule);
}

std::string check_dscp(const json::value& value) {
  static const re2::RE2 kName("(?i)DF|EF|AF[1-4][1-3]|CS[0-6]");
  const std::string_view text = text_of(value);
  if (re2::RE2::FullMatch(re2::StringPiece(text.data(), text.size()), kName)) return {};
  const auto number = value.is_string() ? digits(text) : whole_number(value);
  return unless(number && *number >= 0 && *number <= 63,
                "must be 0 to 63 or the name of a DSCP such as EF or AF21");
}

ValueCheck within(std::int64_t min, std::int64_t max) {
  return [=](const json::value& value) {
    const auto number = whole_number(value);
    if (!number || (*number >= min && *number <= max)) return std::string();
    return fmt::format("must be from {} to {}", min, max);
  };
}

ValueCheck bounded(std::string_view comparison, std::int64_t bound) {
  return [=](const json::value& value) {
    const auto number = whole_number(value);
    if (!number) return std::string();
    if (comparison == "gt") return unless(*number > bound, fmt::format("must be greater than {}", bound));
    if (comparison == "gte") return unless(*number >= bound, fmt::format("must be at least {}", bound));
    if (comparison == "lt") return unless(*number < bound, fmt::format("must be less than {}", bound));
    return unless(*number <= bound, fmt::format("must be at most {}", bound));
  };
}

ValueCheck one_of(std::string_view words) {
  std::vector<std::string> allowed;
  for (std::size_t at = 0; at <= words.size();) {
    const auto end = std::min(words.find('|', at), words.size());
    allowed.emplace_back(words.substr(at, end - at));
    at = end + 1;
  }
  return [allowed](const json::value& value) {
    if (!value.is_string() || value.get_string().empty()) return std::string();
    const bool known = std::ranges::find(allowed, text_of(value)) != allowed.end();
    return known ? std::string() : fmt::format("must be one of {}", fmt::join(allowed, ", "));
  };
}

std::string check_log_filters(const json::value& value) {
  const auto* object = value.if_object();
  if (object == nullptr) return {};
  for (const auto& [key, item] : *object) {
    if (auto rule = check_text("interface", key); !rule.empty()) {
      return fmt::format("the key {}: {}", std::string_view(key), rule);
    }
  }
  return {};
}

const std::map<std::string_view, ValueCheck>& value_checks() {
  static const std::map<std::string_view, ValueCheck> kChecks{
      {"Port", check_port},
      {"Protocol", check_protocol},
      {"ASNumber", check_as_number},
      {"DSCP", check_dscp},
      {"bpfLogFilters", check_log_filters},
      {"bgpFilterPrefixLengthV4", within(0, 32)},
      {"bgpFilterPrefixLengthV6", within(0, 128)},
      {"format:int32", within(INT32_MIN, INT32_MAX)},
      {"format:int64", within(INT64_MIN, INT64_MAX)},
  };
  return kChecks;
}

}  // namespace

std::string check_text(std::string_view check, std::string_view text) {
  const TextCheck found = find_text_check(check);
  CHECK(found != nullptr);
  return found(text);
}

std::optional<ValueCheck> find_check(std::string_view name) {
  if (const auto found = value_checks().find(name); found != value_checks().end()) return found->second;
  if (const TextCheck check = find_text_check(name); check != nullptr) {
    return [check](const json::value& value) {
      return value.is_string() ? check(text_of(value)) : std::string();
    };
  }
  const auto equals = name.find('=');
  if (equals == std::string_view::npos) return std::nullopt;
  const auto key = name.substr(0, equals);
  const auto argument = name.substr(equals + 1);
  if (key == "oneof") return one_of(argument);
  std::int64_t bound = 0;
  const auto [end, error] = std::from_chars(argument.data(), argument.data() + argument.size(), bound);
  if (error != std::errc() || end != argument.data() + argument.size()) return std::nullopt;
  for (const std::string_view comparison : {"gt", "gte", "lt", "lte"}) {
    if (key == comparison) return bounded(comparison, bound);
  }
  return std::nullopt;
}

}  // namespace ocicat::schema
