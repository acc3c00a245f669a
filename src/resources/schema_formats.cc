#include "resources/schema_formats.h"

#include <fmt/format.h>
#include <re2/re2.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <map>
#include <vector>

#include "base/ip.h"
#include "resources/number_or_string.h"
#include "resources/selector/selector.h"

namespace ocicat::schema {

namespace json = boost::json;

namespace {

using TextCheck = std::string (*)(std::string_view);

re2::StringPiece piece(std::string_view text) { return {text.data(), text.size()}; }

bool fits(std::string_view text, const re2::RE2& pattern) { return re2::RE2::FullMatch(piece(text), pattern); }

std::string unless(bool fine, std::string_view rule) { return fine ? std::string() : std::string(rule); }

// --- addresses

std::string check_address(std::string_view text, std::optional<Family> family, std::string_view rule) {
  const auto address = IpAddress::parse(text);
  return unless(address && (!family || address->family() == *family), rule);
}

std::string check_ip(std::string_view text) { return check_address(text, {}, "must be an IP address"); }
std::string check_ipv4(std::string_view text) { return check_address(text, Family::kIpv4, "must be an IPv4 address"); }
std::string check_ipv6(std::string_view text) { return check_address(text, Family::kIpv6, "must be an IPv6 address"); }

std::string check_prefix(std::string_view text, std::optional<Family> family) {
  const auto prefix = Prefix::parse(text, true);
  if (prefix && (!family || prefix->family() == *family)) return {};
  if (!family) return "must be an address or a CIDR such as 10.0.0.0/16";
  return *family == Family::kIpv4 ? "must be an IPv4 address or CIDR such as 10.0.0.0/16"
                                  : "must be an IPv6 address or CIDR such as fd00:10::/64";
}

std::string check_net(std::string_view text, std::optional<Family> family) {
  if (auto rule = check_prefix(text, family); !rule.empty()) return rule;
  const auto prefix = Prefix::parse(text, true);
  if (prefix->is_masked()) return {};
  return fmt::format("bits are set beyond the prefix length; write {}", prefix->masked().to_string());
}

std::string check_cidr_format(std::string_view text) {
  return unless(Prefix::parse(text).has_value(), "must be a CIDR, an address with a prefix length such as 10.0.0.0/16");
}

std::string check_ip_port(std::string_view text) {
  static const re2::RE2 kWithPort(R"((?:([0-9.]+)|\[([0-9a-fA-F:.]+)\]):([0-9]{1,5}))");
  if (IpAddress::parse(text)) return {};
  std::string v4;
  std::string v6;
  int port = 0;
  const bool fine = re2::RE2::FullMatch(piece(text), kWithPort, &v4, &v6, &port) && port >= 1 && port <= 65535 &&
                    IpAddress::parse(v4.empty() ? v6 : v4);
  return unless(fine, "must be an address, or an address and a port such as 10.0.0.1:179 or [fd00::1]:179");
}

// --- words

std::string check_interface(std::string_view text) {
  static const re2::RE2 kPattern(R"(\*|[a-zA-Z0-9_.-]{1,15})");
  return unless(fits(text, kPattern), "must be the name of an interface, at most 15 of a-z A-Z 0-9 _ . -, or *");
}

std::string check_interface_name(std::string_view text) {
  static const re2::RE2 kPattern(R"([a-zA-Z0-9_.-]{1,15})");
  return unless(fits(text, kPattern), "must be the name of an interface, at most 15 of a-z A-Z 0-9 _ . -");
}

std::string check_interface_filter(std::string_view text) {
  static const re2::RE2 kPattern(R"([a-zA-Z0-9:._+-]{1,15})");
  return unless(fits(text, kPattern), "must be the name of an interface, at most 15 of a-z A-Z 0-9 : . _ + -");
}

std::string check_filter_interface(std::string_view text) {
  static const re2::RE2 kPattern(R"(\*|[a-zA-Z0-9_.*-]{1,15})");
  return unless(fits(text, kPattern), "must be the name or a pattern of interfaces, at most 15 characters");
}

std::string check_ignored_interface(std::string_view text) {
  return text == "*" ? "must not be *, which would ignore every interface" : check_filter_interface(text);
}

std::string check_name(std::string_view text) {
  static const re2::RE2 kPattern(R"([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*)");
  return unless(fits(text, kPattern),
                "must be a name of a-z, 0-9, - and ., each part beginning and ending with a letter or digit");
}

std::string check_container_id(std::string_view text) {
  static const re2::RE2 kPattern(R"([a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?)");
  return unless(fits(text, kPattern), "must be letters, digits and -, beginning and ending with a letter or digit");
}

std::string check_port_name(std::string_view text) {
  static const re2::RE2 kPattern(R"([a-z0-9]+(-[a-z0-9]+)*)");
  const bool has_letter = std::ranges::any_of(text, [](char c) { return c >= 'a' && c <= 'z'; });
  return unless(text.size() <= 15 && has_letter && fits(text, kPattern),
                "must be the name of a port: at most 15 of a-z 0-9 -, at least one letter, no - at the ends or doubled");
}

std::string check_mac(std::string_view text) {
  static const re2::RE2 kPattern(
      "(?i)[0-9a-f]{2}(:[0-9a-f]{2}){5}|[0-9a-f]{2}(:[0-9a-f]{2}){7}|[0-9a-f]{2}(:[0-9a-f]{2}){19}"
      "|[0-9a-f]{2}(-[0-9a-f]{2}){5}|[0-9a-f]{2}(-[0-9a-f]{2}){7}|[0-9a-f]{2}(-[0-9a-f]{2}){19}"
      R"(|[0-9a-f]{4}(\.[0-9a-f]{4}){2}|[0-9a-f]{4}(\.[0-9a-f]{4}){3}|[0-9a-f]{4}(\.[0-9a-f]{4}){9})");
  return unless(fits(text, kPattern), "must be a MAC address such as 02:00:5e:10:00:01");
}

std::string check_key_values(std::string_view text) {
  static const re2::RE2 kPattern(R"(\s*|( ?\w+=[^,]*|)(,( ?\w+=[^,]*|))*)");
  return unless(fits(text, kPattern), "must be key=value pairs with commas between them");
}

std::string check_prometheus_host(std::string_view text) {
  static const re2::RE2 kPattern(R"([a-zA-Z0-9:._+-]{1,64})");
  return unless(fits(text, kPattern), "must be a host name or address, at most 64 characters");
}

std::string check_regexp(std::string_view text) {
  const re2::RE2 compiled(piece(text), re2::RE2::Quiet);
  return compiled.ok() ? std::string() : fmt::format("not a regular expression: {}", compiled.error());
}

std::string check_wireguard_key(std::string_view text) {
  static const re2::RE2 kPattern("[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=");
  return unless(fits(text, kPattern), "must be 32 bytes in base64");
}

std::string check_selector(std::string_view text) {
  const auto selector = Selector::parse(text);
  return selector ? std::string() : fmt::format("not a selector: {}", selector.error().message);
}

std::string check_ip_type(std::string_view text) {
  return unless(text == "CalicoNodeIP" || text == "InternalIP" || text == "ExternalIP",
                "must be one of CalicoNodeIP, InternalIP, ExternalIP");
}

std::string check_enabled(std::string_view text) {
  return unless(text == "Enabled" || text == "Disabled", "must be one of Enabled, Disabled");
}

std::string check_duration(std::string_view text) {
  static const re2::RE2 kPattern(R"([-+]?(0|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+))");
  return unless(fits(text, kPattern), "must be a duration such as 90s or 1m30s");
}

std::string check_date_time(std::string_view text) {
  static const re2::RE2 kPattern(
      R"(\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?(Z|[+-]([01]\d|2[0-3]):[0-5]\d))");
  return unless(fits(text, kPattern), "must be a time such as 2026-01-31T12:00:00Z");
}

const std::map<std::string_view, TextCheck>& text_checks() {
  static const std::map<std::string_view, TextCheck> kChecks{
      {"ip", check_ip},
      {"reachableBy", check_ip},
      {"ipv4", check_ipv4},
      {"ipv6", check_ipv6},
      {"net", [](std::string_view text) { return check_net(text, {}); }},
      {"netv4", [](std::string_view text) { return check_net(text, Family::kIpv4); }},
      {"netv6", [](std::string_view text) { return check_net(text, Family::kIpv6); }},
      {"cidr", [](std::string_view text) { return check_prefix(text, {}); }},
      {"cidrs", [](std::string_view text) { return check_prefix(text, {}); }},
      {"cidrv4", [](std::string_view text) { return check_prefix(text, Family::kIpv4); }},
      {"cidrv6", [](std::string_view text) { return check_prefix(text, Family::kIpv6); }},
      {"format:cidr", check_cidr_format},
      {"format:date-time", check_date_time},
      {"IP:port", check_ip_port},
      {"interface", check_interface},
      {"interfaceSlice", check_interface_name},
      {"ifaceFilter", check_interface_filter},
      {"ifaceFilterSlice", check_interface_filter},
      {"bgpFilterInterface", check_filter_interface},
      {"ignoredInterface", check_ignored_interface},
      {"name", check_name},
      {"dns1123", check_dns_label},
      {"containerID", check_container_id},
      {"selector", check_selector},
      {"labelKey", check_label_key},
      {"labelValue", check_label_value},
      {"portName", check_port_name},
      {"mac", check_mac},
      {"keyValueList", check_key_values},
      {"prometheusHost", check_prometheus_host},
      {"regexp", check_regexp},
      {"wireguardPublicKey", check_wireguard_key},
      {"ipType", check_ip_type},
      {"createDefaultHostEndpoint", check_enabled},
      {"Duration", check_duration},
  };
  return kChecks;
}

// --- numbers, and numbers or text

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
  constexpr std::string_view kRule = "must be an AS number: 0 to 4294967295, or two 16-bit halves such as \"64.512\"";
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
  if (value.is_string() && fits(text_of(value), kName)) return {};
  const auto number = value.is_string() ? digits(text_of(value)) : whole_number(value);
  return unless(number && *number >= 0 && *number <= 63, "must be 0 to 63 or the name of a DSCP such as EF or AF21");
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
    if (auto rule = check_interface(key); !rule.empty()) return fmt::format("the key {}: {}", std::string_view(key), rule);
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

std::string check_dns_label(std::string_view text) {
  static const re2::RE2 kPattern("[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?");
  return unless(fits(text, kPattern), "must be at most 63 of a-z 0-9 -, beginning and ending with a letter or digit");
}

std::string check_dns_subdomain(std::string_view text) {
  if (text.size() > 253) return "must be at most 253 characters";
  return check_name(text);
}

std::string check_label_key(std::string_view key) {
  static const re2::RE2 kName("([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9]");
  const auto slash = key.find('/');
  const auto name = slash == std::string_view::npos ? key : key.substr(slash + 1);
  const bool prefix_is_fine = slash == std::string_view::npos || check_dns_subdomain(key.substr(0, slash)).empty();
  return unless(prefix_is_fine && fits(name, kName),
                "must be a name of at most 63 of a-z A-Z 0-9 - _ ., beginning and ending with a letter or digit, "
                "optionally after a DNS name and a slash");
}

std::string check_label_value(std::string_view value) {
  static const re2::RE2 kPattern("(([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9])?");
  return unless(fits(value, kPattern),
                "must be empty or at most 63 of a-z A-Z 0-9 - _ ., beginning and ending with a letter or digit");
}

std::string check_text(std::string_view check, std::string_view text) { return text_checks().at(check)(text); }

std::optional<ValueCheck> find_check(std::string_view name) {
  if (const auto found = value_checks().find(name); found != value_checks().end()) return found->second;
  if (const auto found = text_checks().find(name); found != text_checks().end()) {
    return [check = found->second](const json::value& value) {
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
