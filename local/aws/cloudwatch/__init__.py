"""CloudWatch's metrics and alarms: what moto 5.2.5 keeps and never evaluates is evaluated here and delivered to SNS."""
