// Written by scripts/model.
//! The class `PIF`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::enums;
use crate::model::{Class, ClassTable, Field, Lifecycle, Record, Ref, Roles, Type, Verb, record::whole};

/// A network interface of a host: a physical one, or one for a VLAN.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Pif {
    /// The identifier of the object; its reference is made of it.
    pub uuid: String,
    /// The name of the physical interface on its host, such as `eth0`.
    pub device: String,
    /// The network that it connects to the outside.
    pub network: Ref<super::Network>,
    /// The host.
    pub host: Ref<super::Host>,
    /// The MAC address.
    #[serde(rename = "MAC")]
    pub mac: String,
    /// Bytes: the largest packet.
    #[serde(rename = "MTU")]
    pub mtu: i64,
    /// The tag of its VLAN; -1 for a physical interface.
    #[serde(rename = "VLAN")]
    pub vlan: i64,
    /// What is known of the physical interface.
    pub metrics: Ref<super::PifMetrics>,
    /// Whether it is a physical interface.
    pub physical: bool,
    /// Whether it is in the bridge of its network now.
    pub currently_attached: bool,
    /// How the host gets its address on it.
    pub ip_configuration_mode: enums::IpConfigurationMode,
    /// The address of IPv4 that it has; empty for none.
    #[serde(rename = "IP")]
    pub ip: String,
    /// Its netmask.
    pub netmask: String,
    /// Its gateway.
    pub gateway: String,
    /// Its servers for names, separated by commas.
    #[serde(rename = "DNS")]
    pub dns: String,
    /// Not honoured: always the null reference.
    pub bond_slave_of: Ref<super::Bond>,
    /// Not honoured: always empty.
    pub bond_master_of: Vec<Ref<super::Bond>>,
    /// The VLAN whose untagged side it is.
    #[serde(rename = "VLAN_master_of")]
    pub vlan_master_of: Ref<super::Vlan>,
    /// The VLANs whose tagged side it is.
    #[serde(rename = "VLAN_slave_of")]
    pub vlan_slave_of: Vec<Ref<super::Vlan>>,
    /// Whether the host is managed through it.
    pub management: bool,
    /// Kept as clients set it; xvirt does not use it.
    pub other_config: BTreeMap<String, String>,
    /// Whether it must stay attached.
    pub disallow_unplug: bool,
    /// Not honoured: always empty.
    #[serde(rename = "tunnel_access_PIF_of")]
    pub tunnel_access_pif_of: Vec<Ref<super::Tunnel>>,
    /// Not honoured: always empty.
    #[serde(rename = "tunnel_transport_PIF_of")]
    pub tunnel_transport_pif_of: Vec<Ref<super::Tunnel>>,
    /// How the host gets its address of IPv6 on it.
    pub ipv6_configuration_mode: enums::Ipv6ConfigurationMode,
    /// The addresses of IPv6 that it has, each with the length of its prefix.
    #[serde(rename = "IPv6")]
    pub ipv6: Vec<String>,
    /// Its gateway for IPv6.
    pub ipv6_gateway: String,
    /// Which of its addresses the host is managed by.
    pub primary_address_type: enums::PrimaryAddressType,
    /// Whether xvirt configures it.
    pub managed: bool,
    /// Not honoured: always empty.
    pub properties: BTreeMap<String, String>,
    /// What it can do beyond carrying packets.
    pub capabilities: Vec<String>,
    /// Not honoured: always `unknown`.
    pub igmp_snooping_status: enums::PifIgmpStatus,
    /// Not honoured: always empty.
    #[serde(rename = "sriov_physical_PIF_of")]
    pub sriov_physical_pif_of: Vec<Ref<super::NetworkSriov>>,
    /// Not honoured: always empty.
    #[serde(rename = "sriov_logical_PIF_of")]
    pub sriov_logical_pif_of: Vec<Ref<super::NetworkSriov>>,
    /// Not honoured: always the null reference.
    #[serde(rename = "PCI")]
    pub pci: Ref<super::Pci>,
}

impl Default for Pif {
    fn default() -> Self {
        Self {
            uuid: String::new(),
            device: String::new(),
            network: Ref::NULL,
            host: Ref::NULL,
            mac: String::new(),
            mtu: 1500,
            vlan: -1,
            metrics: Ref::NULL,
            physical: false,
            currently_attached: false,
            ip_configuration_mode: enums::IpConfigurationMode::None,
            ip: String::new(),
            netmask: String::new(),
            gateway: String::new(),
            dns: String::new(),
            bond_slave_of: Ref::NULL,
            bond_master_of: Vec::new(),
            vlan_master_of: Ref::NULL,
            vlan_slave_of: Vec::new(),
            management: false,
            other_config: BTreeMap::new(),
            disallow_unplug: false,
            tunnel_access_pif_of: Vec::new(),
            tunnel_transport_pif_of: Vec::new(),
            ipv6_configuration_mode: enums::Ipv6ConfigurationMode::None,
            ipv6: Vec::new(),
            ipv6_gateway: String::new(),
            primary_address_type: enums::PrimaryAddressType::Ipv4,
            managed: true,
            properties: BTreeMap::new(),
            capabilities: Vec::new(),
            igmp_snooping_status: enums::PifIgmpStatus::Unknown,
            sriov_physical_pif_of: Vec::new(),
            sriov_logical_pif_of: Vec::new(),
            pci: Ref::NULL,
        }
    }
}

impl Record for Pif {}

impl Class for Pif {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "PIF",
        lifecycle: Lifecycle::Published,
        reference: &Type::Ref("PIF"),
        record: &Type::Record("PIF"),
        whole: Some(whole::<Pif>),
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_all", "get_all_records"],
        fields: &[
            Field::dynamic("DNS", Type::String).honoured(),
            Field::dynamic("IP", Type::String).honoured(),
            Field::dynamic("IPv6", Type::Set(&Type::String)).honoured(),
            Field::constant("MAC", Type::String).required().honoured(),
            Field::constant("MTU", Type::Int).required().starts_as("1500").honoured(),
            Field::dynamic("PCI", Type::Ref("PCI")),
            Field::constant("VLAN", Type::Int).required().starts_as("-1").honoured(),
            Field::dynamic("VLAN_master_of", Type::Ref("VLAN")).honoured(),
            Field::dynamic("VLAN_slave_of", Type::Set(&Type::Ref("VLAN"))).required().honoured(),
            Field::dynamic("bond_master_of", Type::Set(&Type::Ref("Bond"))).required(),
            Field::dynamic("bond_slave_of", Type::Ref("Bond")),
            Field::dynamic("capabilities", Type::Set(&Type::String)).honoured(),
            Field::dynamic("currently_attached", Type::Bool).honoured(),
            Field::constant("device", Type::String).required().honoured(),
            Field::dynamic("disallow_unplug", Type::Bool).honoured(),
            Field::dynamic("gateway", Type::String).honoured(),
            Field::constant("host", Type::Ref("host")).required().honoured(),
            Field::dynamic("igmp_snooping_status", Type::Enum(enums::PifIgmpStatus::TABLE)).starts_as(r#""unknown""#),
            Field::dynamic("ip_configuration_mode", Type::Enum(enums::IpConfigurationMode::TABLE))
                .starts_as(r#""None""#)
                .honoured(),
            Field::dynamic("ipv6_configuration_mode", Type::Enum(enums::Ipv6ConfigurationMode::TABLE))
                .starts_as(r#""None""#)
                .honoured(),
            Field::dynamic("ipv6_gateway", Type::String).honoured(),
            Field::constant("managed", Type::Bool).starts_as("true").honoured(),
            Field::dynamic("management", Type::Bool).honoured(),
            Field::dynamic("metrics", Type::Ref("PIF_metrics")).required().honoured(),
            Field::dynamic("netmask", Type::String).honoured(),
            Field::constant("network", Type::Ref("network")).required().honoured(),
            Field::writable("other_config", Type::Map(&Type::String, &Type::String), Roles::POOL_OPERATOR).kept(),
            Field::dynamic("physical", Type::Bool).honoured(),
            Field::dynamic("primary_address_type", Type::Enum(enums::PrimaryAddressType::TABLE))
                .starts_as(r#""IPv4""#)
                .honoured(),
            Field::dynamic("properties", Type::Map(&Type::String, &Type::String)),
            Field::dynamic("sriov_logical_PIF_of", Type::Set(&Type::Ref("network_sriov"))).required(),
            Field::dynamic("sriov_physical_PIF_of", Type::Set(&Type::Ref("network_sriov"))).required(),
            Field::dynamic("tunnel_access_PIF_of", Type::Set(&Type::Ref("tunnel"))).required(),
            Field::dynamic("tunnel_transport_PIF_of", Type::Set(&Type::Ref("tunnel"))).required(),
            Field::dynamic("uuid", Type::String).required().honoured(),
        ],
        verbs: &[
            Verb::new(
                "create_VLAN",
                &[
                    ("device", Type::String),
                    ("network", Type::Ref("network")),
                    ("host", Type::Ref("host")),
                    ("VLAN", Type::Int),
                ],
                Type::Ref("PIF"),
                Roles::POOL_OPERATOR,
            )
            .errors(&["VLAN_TAG_INVALID"])
            .lifecycle(Lifecycle::Deprecated),
            Verb::new("db_forget", &[("self", Type::Ref("PIF"))], Type::Void, Roles::POOL_OPERATOR),
            Verb::new(
                "db_introduce",
                &[
                    ("device", Type::String),
                    ("network", Type::Ref("network")),
                    ("host", Type::Ref("host")),
                    ("MAC", Type::String),
                    ("MTU", Type::Int),
                    ("VLAN", Type::Int),
                    ("physical", Type::Bool),
                    ("ip_configuration_mode", Type::Enum(enums::IpConfigurationMode::TABLE)),
                    ("IP", Type::String),
                    ("netmask", Type::String),
                    ("gateway", Type::String),
                    ("DNS", Type::String),
                    ("bond_slave_of", Type::Ref("Bond")),
                    ("VLAN_master_of", Type::Ref("VLAN")),
                    ("management", Type::Bool),
                    ("other_config", Type::Map(&Type::String, &Type::String)),
                    ("disallow_unplug", Type::Bool),
                    ("ipv6_configuration_mode", Type::Enum(enums::Ipv6ConfigurationMode::TABLE)),
                    ("IPv6", Type::Set(&Type::String)),
                    ("ipv6_gateway", Type::String),
                    ("primary_address_type", Type::Enum(enums::PrimaryAddressType::TABLE)),
                    ("managed", Type::Bool),
                    ("properties", Type::Map(&Type::String, &Type::String)),
                ],
                Type::Ref("PIF"),
                Roles::POOL_OPERATOR,
            )
            .optional(7),
            Verb::new("destroy", &[("self", Type::Ref("PIF"))], Type::Void, Roles::POOL_OPERATOR)
                .errors(&["PIF_IS_PHYSICAL"])
                .lifecycle(Lifecycle::Deprecated),
            Verb::new("forget", &[("self", Type::Ref("PIF"))], Type::Void, Roles::POOL_OPERATOR)
                .errors(&["PIF_TUNNEL_STILL_EXISTS", "CLUSTERING_ENABLED"]),
            Verb::new(
                "introduce",
                &[
                    ("host", Type::Ref("host")),
                    ("MAC", Type::String),
                    ("device", Type::String),
                    ("managed", Type::Bool),
                ],
                Type::Ref("PIF"),
                Roles::POOL_OPERATOR,
            )
            .optional(1),
            Verb::new("plug", &[("self", Type::Ref("PIF"))], Type::Void, Roles::POOL_OPERATOR)
                .errors(&["TRANSPORT_PIF_NOT_CONFIGURED"]),
            Verb::new(
                "reconfigure_ip",
                &[
                    ("self", Type::Ref("PIF")),
                    ("mode", Type::Enum(enums::IpConfigurationMode::TABLE)),
                    ("IP", Type::String),
                    ("netmask", Type::String),
                    ("gateway", Type::String),
                    ("DNS", Type::String),
                ],
                Type::Void,
                Roles::POOL_OPERATOR,
            )
            .errors(&["CLUSTERING_ENABLED"]),
            Verb::new(
                "reconfigure_ipv6",
                &[
                    ("self", Type::Ref("PIF")),
                    ("mode", Type::Enum(enums::Ipv6ConfigurationMode::TABLE)),
                    ("IPv6", Type::String),
                    ("gateway", Type::String),
                    ("DNS", Type::String),
                ],
                Type::Void,
                Roles::POOL_OPERATOR,
            )
            .errors(&["CLUSTERING_ENABLED"]),
            Verb::new("scan", &[("host", Type::Ref("host"))], Type::Void, Roles::POOL_OPERATOR),
            Verb::new(
                "set_disallow_unplug",
                &[("self", Type::Ref("PIF")), ("value", Type::Bool)],
                Type::Void,
                Roles::POOL_OPERATOR,
            )
            .errors(&["OTHER_OPERATION_IN_PROGRESS", "CLUSTERING_ENABLED"]),
            Verb::new(
                "set_primary_address_type",
                &[("self", Type::Ref("PIF")), ("primary_address_type", Type::Enum(enums::PrimaryAddressType::TABLE))],
                Type::Void,
                Roles::POOL_OPERATOR,
            ),
            Verb::new(
                "set_property",
                &[("self", Type::Ref("PIF")), ("name", Type::String), ("value", Type::String)],
                Type::Void,
                Roles::POOL_OPERATOR,
            ),
            Verb::new("unplug", &[("self", Type::Ref("PIF"))], Type::Void, Roles::POOL_OPERATOR).errors(&[
                "HA_OPERATION_WOULD_BREAK_FAILOVER_PLAN",
                "VIF_IN_USE",
                "PIF_DOES_NOT_ALLOW_UNPLUG",
                "PIF_HAS_FCOE_SR_IN_USE",
            ]),
        ],
    };
}
