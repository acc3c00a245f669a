#include "policy/settings_in_effect.h"

#include <algorithm>
#include <array>

namespace ocicat {
namespace {

using namespace std::string_view_literals;

constexpr std::array kFeatures{"ChecksumOffloadBroken"sv};
constexpr std::array kTimeouts{"tcpSynSent"sv, "tcpEstablished"sv, "tcpFinsSeen"sv,   "tcpResetSeen"sv,
                               "udpTimeout"sv, "icmpTimeout"sv,    "genericTimeout"sv};

constexpr std::array kInEffect{
    SettingInEffect{"allowIPIPPacketsFromWorkloads"},
    SettingInEffect{"allowVXLANPacketsFromWorkloads"},
    SettingInEffect{"bpfAttachType", "ebpf"},
    SettingInEffect{"bpfConntrackTimeouts", "ebpf", kTimeouts},
    SettingInEffect{"bpfEnforceRPF", "ebpf"},
    SettingInEffect{"bpfRedirectToPeer", "ebpf"},
    SettingInEffect{"defaultEndpointToHostAction"},
    SettingInEffect{"disableConntrackInvalidCheck"},
    SettingInEffect{"externalNodesList"},
    SettingInEffect{"failsafeInboundHostPorts"},
    SettingInEffect{"failsafeOutboundHostPorts"},
    SettingInEffect{"featureDetectOverride", {}, kFeatures},
    SettingInEffect{"floatingIPs"},
    SettingInEffect{"flowLogsFlushInterval"},
    SettingInEffect{"interfacePrefix"},
    SettingInEffect{"ipipEnabled"},
    SettingInEffect{"ipipMTU"},
    SettingInEffect{"iptablesFilterDenyAction"},
    SettingInEffect{"iptablesNATOutgoingInterfaceFilter"},
    SettingInEffect{"logActionRateLimit"},
    SettingInEffect{"logActionRateLimitBurst"},
    SettingInEffect{"logPrefix"},
    SettingInEffect{"mtuIfacePattern"},
    SettingInEffect{"natOutgoingAddress"},
    SettingInEffect{"natOutgoingExclusions"},
    SettingInEffect{"natPortRange"},
    SettingInEffect{"nftablesFilterDenyAction", "nftables"},
    SettingInEffect{"nftablesMarkMask"},
    SettingInEffect{"nodeSelector"},
    SettingInEffect{"serviceLoopPrevention"},
    SettingInEffect{"vxlanEnabled"},
    SettingInEffect{"vxlanMTU"},
    SettingInEffect{"vxlanMTUV6"},
    SettingInEffect{"vxlanPort"},
    SettingInEffect{"vxlanVNI"},
    SettingInEffect{"wireguardEnabled"},
    SettingInEffect{"wireguardEnabledV6"},
    SettingInEffect{"wireguardListeningPort"},
    SettingInEffect{"wireguardListeningPortV6"},
    SettingInEffect{"workloadSourceSpoofing"},
    SettingInEffect{"xdpEnabled", "ebpf"},
};
static_assert(std::ranges::is_sorted(kInEffect, {}, &SettingInEffect::field));

constexpr auto kNoEncryption = "opens the port of WireGuard; nothing is encrypted"sv;
constexpr auto kAnswersAtWorkloads =
    "what is denied at workloads is answered; at host endpoints it is dropped"sv;
constexpr auto kAnswersWhereItCan =
    "what is denied is answered, but what the host itself sends, and before translation, is dropped"sv;

constexpr std::array kShortfalls{
    Shortfall{"iptablesFilterDenyAction", "reject", "ebpf", true, kAnswersAtWorkloads},
    Shortfall{"iptablesFilterDenyAction", "reject", "nftables", true, kAnswersWhereItCan},
    Shortfall{"nftablesFilterDenyAction", "reject", "nftables", true, kAnswersWhereItCan},
    Shortfall{"wireguardEnabled", "true", {}, false, kNoEncryption},
    Shortfall{"wireguardEnabledV6", "true", {}, false, kNoEncryption},
};

}  // namespace

std::span<const SettingInEffect> settings_in_effect() {
  return kInEffect;
}

const SettingInEffect* find_setting(std::string_view field) {
  const auto* const found = std::ranges::lower_bound(kInEffect, field, {}, &SettingInEffect::field);
  return found != kInEffect.end() && found->field == field ? found : nullptr;
}

std::span<const Shortfall> shortfalls() {
  return kShortfalls;
}

}  // namespace ocicat
