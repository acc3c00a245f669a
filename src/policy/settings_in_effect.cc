#include "policy/settings_in_effect.h"

#include <algorithm>
#include <array>

namespace ocicat {
namespace {

constexpr std::string_view kNoEncryption = "opens the port of WireGuard; nothing is encrypted";

constexpr std::array kInEffect{
    SettingInEffect{"allowIPIPPacketsFromWorkloads"},
    SettingInEffect{"allowVXLANPacketsFromWorkloads"},
    SettingInEffect{"bpfConntrackTimeouts", "ebpf"},
    SettingInEffect{"bpfEnforceRPF", "ebpf"},
    SettingInEffect{"bpfRedirectToPeer", "ebpf"},
    SettingInEffect{"defaultEndpointToHostAction"},
    SettingInEffect{"disableConntrackInvalidCheck"},
    SettingInEffect{"externalNodesList"},
    SettingInEffect{"failsafeInboundHostPorts"},
    SettingInEffect{"failsafeOutboundHostPorts"},
    SettingInEffect{"featureDetectOverride"},
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
    SettingInEffect{"wireguardEnabled", {}, kNoEncryption},
    SettingInEffect{"wireguardEnabledV6", {}, kNoEncryption},
    SettingInEffect{"wireguardListeningPort"},
    SettingInEffect{"wireguardListeningPortV6"},
    SettingInEffect{"workloadSourceSpoofing"},
    SettingInEffect{"xdpEnabled", "ebpf"},
};
static_assert(std::ranges::is_sorted(kInEffect, {}, &SettingInEffect::field));

}  // namespace

std::span<const SettingInEffect> settings_in_effect() {
  return kInEffect;
}

const SettingInEffect* find_setting(std::string_view field) {
  const auto* const found = std::ranges::lower_bound(kInEffect, field, {}, &SettingInEffect::field);
  return found != kInEffect.end() && found->field == field ? found : nullptr;
}

}  // namespace ocicat
