package pforte.reference;

import ca.uhn.fhir.batch2.jobs.config.Batch2JobsConfig;
import ca.uhn.fhir.batch2.jobs.export.BulkDataExportProvider;
import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.context.support.IValidationSupport;
import ca.uhn.fhir.jpa.api.config.JpaStorageSettings;
import ca.uhn.fhir.jpa.api.config.ThreadPoolFactoryConfig;
import ca.uhn.fhir.jpa.api.dao.IFhirSystemDao;
import ca.uhn.fhir.jpa.batch2.JpaBatch2Config;
import ca.uhn.fhir.jpa.config.HapiJpaConfig;
import ca.uhn.fhir.jpa.config.r4.JpaR4Config;
import ca.uhn.fhir.jpa.config.util.HapiEntityManagerFactoryUtil;
import ca.uhn.fhir.jpa.graphql.GraphQLProvider;
import ca.uhn.fhir.jpa.model.config.PartitionSettings;
import ca.uhn.fhir.jpa.model.config.SubscriptionSettings;
import ca.uhn.fhir.jpa.model.dialect.HapiFhirH2Dialect;
import ca.uhn.fhir.jpa.provider.IJpaSystemProvider;
import ca.uhn.fhir.jpa.provider.JpaCapabilityStatementProvider;
import ca.uhn.fhir.jpa.provider.ValueSetOperationProvider;
import ca.uhn.fhir.jpa.search.DatabaseBackedPagingProvider;
import ca.uhn.fhir.jpa.subscription.channel.config.SubscriptionChannelConfig;
import ca.uhn.fhir.rest.api.EncodingEnum;
import ca.uhn.fhir.rest.server.HardcodedServerAddressStrategy;
import ca.uhn.fhir.rest.server.RestfulServer;
import ca.uhn.fhir.rest.server.provider.ResourceProviderFactory;
import ca.uhn.fhir.rest.server.util.ISearchParamRegistry;
import jakarta.persistence.EntityManagerFactory;
import java.net.URI;
import java.util.Properties;
import javax.sql.DataSource;
import org.apache.commons.dbcp2.BasicDataSource;
import org.eclipse.jetty.ee10.servlet.ServletContextHandler;
import org.eclipse.jetty.ee10.servlet.ServletHolder;
import org.eclipse.jetty.server.HttpConfiguration;
import org.eclipse.jetty.server.HttpConnectionFactory;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import org.eclipse.jetty.util.thread.QueuedThreadPool;
import org.springframework.beans.factory.config.ConfigurableListableBeanFactory;
import org.springframework.context.annotation.AnnotationConfigApplicationContext;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.context.annotation.Import;
import org.springframework.orm.jpa.JpaTransactionManager;
import org.springframework.orm.jpa.LocalContainerEntityManagerFactoryBean;

/**
 * HAPI FHIR's JPA server (R4) on Jetty, its database in memory.
 *
 * <p>The reference backend of the whole-house tests: as plain a HAPI as it starts, because its own
 * answers, odd ones included, are what the gateway is tested against. One argument, the base URL to
 * serve, such as {@code http://127.0.0.1:18080/fhir}; host, port and path are taken from it.
 */
public final class Main {
	private Main() {}

	public static void main(String[] args) throws Exception {
		if (args.length != 1) {
			System.err.println("usage: pforte.reference.Main http://127.0.0.1:18080/fhir");
			System.exit(2);
		}
		URI base = URI.create(args[0]);
		AnnotationConfigApplicationContext beans = new AnnotationConfigApplicationContext(Wiring.class);

		Server jetty = new Server(new QueuedThreadPool(64));
		HttpConfiguration http = new HttpConfiguration();
		http.setRequestHeaderSize(64 * 1024);
		http.setSendServerVersion(true);
		ServerConnector connector = new ServerConnector(jetty, new HttpConnectionFactory(http));
		connector.setHost(base.getHost());
		connector.setPort(base.getPort());
		jetty.addConnector(connector);
		ServletContextHandler context = new ServletContextHandler();
		context.addServlet(new ServletHolder(server(beans, base)), base.getPath() + "/*");
		jetty.setHandler(context);
		jetty.setStopAtShutdown(true);
		jetty.start();
		System.out.println("serving " + base);
		jetty.join();
	}

	private static RestfulServer server(AnnotationConfigApplicationContext beans, URI base) {
		FhirContext fhir = beans.getBean(FhirContext.class);
		RestfulServer server = new RestfulServer(fhir);
		server.registerProviders(beans.getBean(ResourceProviderFactory.class).createProviders());
		server.registerProvider(beans.getBean(IJpaSystemProvider.class));
		server.registerProvider(beans.getBean(ValueSetOperationProvider.class));
		server.registerProvider(beans.getBean(GraphQLProvider.class));
		server.registerProvider(beans.getBean(BulkDataExportProvider.class));
		JpaCapabilityStatementProvider metadata = new JpaCapabilityStatementProvider(
				server,
				beans.getBean(IFhirSystemDao.class),
				beans.getBean(JpaStorageSettings.class),
				beans.getBean(ISearchParamRegistry.class),
				beans.getBean(IValidationSupport.class));
		metadata.setImplementationDescription("Reference backend, synthetic data only");
		server.setServerConformanceProvider(metadata);
		server.setPagingProvider(beans.getBean(DatabaseBackedPagingProvider.class));
		server.setDefaultResponseEncoding(EncodingEnum.JSON);
		server.setServerAddressStrategy(new HardcodedServerAddressStrategy(base.toString()));
		return server;
	}

	/** The beans that HAPI's own configurations leave to the program. */
	@Configuration
	@Import({
		JpaR4Config.class,
		HapiJpaConfig.class,
		JpaBatch2Config.class,
		Batch2JobsConfig.class,
		SubscriptionChannelConfig.class,
		ThreadPoolFactoryConfig.class
	})
	public static class Wiring {
		@Bean
		public JpaStorageSettings storageSettings() {
			JpaStorageSettings settings = new JpaStorageSettings();
			// What HAPI can do and leaves off: the gateway's rules about these are tested with real answers.
			settings.setAllowContainsSearches(true);
			settings.setFilterParameterEnabled(true);
			settings.setIndexIdentifierOfType(true);
			settings.setIndexMissingFields(JpaStorageSettings.IndexEnabledEnum.ENABLED);
			settings.setLastNEnabled(true);
			// Without it every step of an export waits for the next full minute.
			settings.setJobFastTrackingEnabled(true);
			// By default a search may answer with what an equal one found a minute ago.
			settings.setReuseCachedSearchResultsForMillis(null);
			return settings;
		}

		@Bean
		public PartitionSettings partitionSettings() {
			return new PartitionSettings();
		}

		@Bean
		public SubscriptionSettings subscriptionSettings() {
			return new SubscriptionSettings();
		}

		@Bean(destroyMethod = "close")
		public DataSource dataSource() {
			BasicDataSource pool = new BasicDataSource();
			pool.setUrl("jdbc:h2:mem:hapi;DB_CLOSE_DELAY=-1");
			pool.setUsername("hapi");
			pool.setPassword("hapi");
			pool.setMaxTotal(32);
			return pool;
		}

		@Bean
		public LocalContainerEntityManagerFactoryBean entityManagerFactory(
				DataSource database,
				ConfigurableListableBeanFactory beans,
				FhirContext fhir,
				JpaStorageSettings settings) {
			LocalContainerEntityManagerFactoryBean factory =
					HapiEntityManagerFactoryUtil.newEntityManagerFactory(beans, fhir, settings);
			factory.setPersistenceUnitName("HAPI_PU");
			factory.setDataSource(database);
			Properties hibernate = new Properties();
			hibernate.put("hibernate.dialect", HapiFhirH2Dialect.class.getName());
			hibernate.put("hibernate.hbm2ddl.auto", "create");
			hibernate.put("hibernate.jdbc.batch_size", "20");
			hibernate.put("hibernate.search.enabled", "false");
			factory.setJpaProperties(hibernate);
			return factory;
		}

		@Bean
		public JpaTransactionManager transactionManager(EntityManagerFactory factory) {
			return new JpaTransactionManager(factory);
		}
	}
}
